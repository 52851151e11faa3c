use super::*;
use image::RgbImage;

/// Two classes of two images each, and what must be passed over.
fn example() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (class, names) in [("dog", ["2.png", "10.PNG"]), ("cat", ["b.png", "a.jpeg"])] {
        let directory = root.path().join(class);
        std::fs::create_dir(&directory).unwrap();
        for (number, name) in names.into_iter().enumerate() {
            let image = RgbImage::from_fn(6, 4, |x, y| {
                image::Rgb([x as u8 * 10, y as u8 * 10, number as u8])
            });
            image.save(directory.join(name)).unwrap();
        }
        std::fs::write(directory.join("README.txt"), "no image").unwrap();
    }
    std::fs::write(root.path().join("synsets.txt"), "no class").unwrap();
    root
}

#[test]
fn classes_and_images_are_in_the_order_of_their_names() {
    let root = example();
    let folder = ImageFolder::open(root.path()).unwrap();
    assert_eq!(folder.classes(), ["cat", "dog"]);
    let found: Vec<_> = (0..folder.len())
        .map(|index| {
            let path = folder.path(index).unwrap();
            let relative = path.strip_prefix(root.path()).unwrap().to_owned();
            (relative.display().to_string(), folder.class(index).unwrap())
        })
        .collect();
    let expected = [
        ("cat/a.jpeg", 0),
        ("cat/b.png", 0),
        ("dog/10.PNG", 1),
        ("dog/2.png", 1),
    ];
    assert_eq!(
        found,
        expected.map(|(name, class)| (name.to_owned(), class))
    );
    assert!(matches!(
        folder.path(4),
        Err(CocoError::NoSuchImage { images: 4, .. })
    ));

    let photo = folder.load(2).unwrap();
    assert_eq!((photo.width, photo.height, photo.class), (6, 4, 1));
    let cache = PhotoCache::new(Arc::new(folder), 1 << 20);
    assert!(Arc::ptr_eq(&cache.get(2).unwrap(), &cache.get(2).unwrap()));
    assert_eq!(*cache.get(2).unwrap(), photo);
}

#[test]
fn what_cannot_be_used_is_named() {
    let root = example();
    let message = |path: &Path| ImageFolder::open(path).unwrap_err().to_string();
    assert!(message(&root.path().join("nowhere")).contains("nowhere"));
    assert!(message(&root.path().join("cat")).contains("one per class"));
    std::fs::create_dir(root.path().join("cow")).unwrap();
    let text = message(root.path());
    assert!(text.contains("cow") && text.contains("*.png"), "{text}");
    std::fs::write(root.path().join("cow/1.jpg"), "no JPEG").unwrap();
    let folder = ImageFolder::open(root.path()).unwrap();
    let text = folder.load(2).unwrap_err().to_string();
    assert!(text.contains("cow/1.jpg"), "{text}");
}

#[test]
fn a_square_is_the_region_and_nothing_around_it() {
    let photo = Photo {
        pixels: (0..6 * 4).flat_map(|i| [(i % 6) * 40, 7, 9]).collect(),
        width: 6,
        height: 4,
        class: 0,
    };
    let region = |left, width| Region {
        left,
        top: 1.0,
        width,
        height: 2.0,
    };
    let square = photo.square(region(2.0, 2.0), 2).unwrap();
    assert_eq!(square, [80, 7, 9, 120, 7, 9, 80, 7, 9, 120, 7, 9]);
    // Halved in width: means of two columns.
    let square = photo.square(region(1.0, 4.0), 2).unwrap();
    assert!(
        (50..=75).contains(&square[0]) && square[3] > 110,
        "{square:?}"
    );
    // Clipped to the image.
    assert_eq!(photo.square(region(4.0, 100.0), 2).unwrap().len(), 12);
}
