//! Files of COCO's real size, without COCO, to measure reading and evaluating them.
//!
//! ```text
//! cargo run --release -p coco --example full_size -- annotations FILE [IMAGES OBJECTS]
//! cargo run --release -p coco --example full_size -- open FILE
//! cargo run --release -p coco --example full_size -- detections ANNOTATIONS FILE [PER_IMAGE]
//! cargo run --release -p coco --example full_size -- evaluate ANNOTATIONS FILE
//! ```
//!
//! `annotations` writes an `instances_*.json` as large as COCO's for training (118,287 images with
//! 860,001 objects of 80 categories, polygons and run lengths included: about 550 MB); `open` opens one
//! and says what that cost. `detections` writes results for a file of annotations: jittered objects and
//! noise, and `evaluate` does what `gradcode eval --results` does and says what that cost.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use coco::{Annotations, Dataset, evaluate_results, write_results};
use counter_rng::{Purpose, rng};
use learner::FoundObject;
use rand::{Rng, RngExt};

/// Ids up to 90 that COCO does not use.
const UNUSED: [u32; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["annotations", file] => annotations(Path::new(file), 118_287, 860_001),
        ["annotations", file, images, objects] => {
            annotations(Path::new(file), images.parse()?, objects.parse()?)
        }
        ["open", file] => open(Path::new(file)),
        ["detections", annotations, file] => detections(Path::new(annotations), Path::new(file), 100),
        ["detections", annotations, file, each] => {
            detections(Path::new(annotations), Path::new(file), each.parse()?)
        }
        ["evaluate", annotations, file] => evaluate(Path::new(annotations), Path::new(file)),
        _ => Err("annotations FILE [IMAGES OBJECTS] | open FILE | detections ANNOTATIONS FILE [PER_IMAGE] | evaluate ANNOTATIONS FILE".into()),
    }
}

fn annotations(path: &Path, images: u64, objects: u64) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(b"{\"info\": {\"year\": 2017}, \"licenses\": [], \"images\": [")?;
    // Ids do not ascend, as in COCO's files.
    let id = |image: u64| (image * 7919) % 1_000_003 + 1;
    for image in 0..images {
        let comma = if image == 0 { "" } else { ", " };
        let id = id(image);
        write!(
            out,
            "{comma}{{\"license\": 3, \"file_name\": \"{id:012}.jpg\", \"coco_url\": \
             \"http://images.cocodataset.org/train2017/{id:012}.jpg\", \"height\": 480, \"width\": 640, \
             \"date_captured\": \"2013-11-14 11:18:45\", \"flickr_url\": \
             \"http://farm9.staticflickr.com/8186/{id}_z.jpg\", \"id\": {id}}}"
        )?;
    }
    out.write_all(b"], \"annotations\": [")?;
    let mut draws = rng(1, Purpose::Synthesis, 0, 0);
    let categories: Vec<u32> = (1..=90).filter(|id| !UNUSED.contains(id)).collect();
    for object in 0..objects {
        let comma = if object == 0 { "" } else { ", " };
        let mut below = |n: u32| draws.next_u32() % n;
        let (width, height) = (4 + below(400), 4 + below(300));
        let (x, y) = (below(640 - width), below(480 - height));
        write!(out, "{comma}{{\"segmentation\": ")?;
        let crowd = below(85) == 0;
        if crowd {
            out.write_all(b"{\"counts\": [")?;
            for i in 0..120 {
                write!(out, "{}{}", if i == 0 { "" } else { ", " }, below(2000))?;
            }
            out.write_all(b"], \"size\": [480, 640]}")?;
        } else {
            out.write_all(b"[[")?;
            for i in 0..2 * (8 + below(50)) {
                let comma = if i == 0 { "" } else { ", " };
                write!(out, "{comma}{}.{:02}", below(640), below(100))?;
            }
            out.write_all(b"]]")?;
        }
        write!(
            out,
            ", \"area\": {}.{:04}, \"iscrowd\": {}, \"image_id\": {}, \"bbox\": [{x}.{:02}, {y}.{:02}, \
             {width}.{:02}, {height}.{:02}], \"category_id\": {}, \"id\": {}}}",
            width * height * 2 / 3,
            below(10_000),
            u8::from(crowd),
            id(u64::from(below(images as u32))),
            below(100),
            below(100),
            below(100),
            below(100),
            categories[below(80) as usize],
            object + 1,
        )?;
    }
    out.write_all(b"], \"categories\": [")?;
    for (i, id) in categories.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(
            out,
            "{comma}{{\"supercategory\": \"thing\", \"id\": {id}, \"name\": \"category {id}\"}}"
        )?;
    }
    out.write_all(b"]}\n")?;
    out.into_inner()?.sync_all()?;
    println!(
        "{}: {:.0} MB",
        path.display(),
        std::fs::metadata(path)?.len() as f64 / 1e6
    );
    Ok(())
}

fn open(path: &Path) -> Result<(), Box<dyn Error>> {
    let before = peak_memory();
    let started = Instant::now();
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let dataset = Dataset::open(path, directory.unwrap_or(Path::new(".")))?;
    let opened = started.elapsed().as_secs_f64();
    let peak = peak_memory();
    let trainable = dataset.trainable_images().len();
    println!(
        "{} images, {trainable} of them trainable, opened in {opened:.2} s\n\
         index {:.1} MB, peak memory of the process {:.1} MB ({:.1} MB before)",
        dataset.len(),
        dataset.index_bytes() as f64 / 1e6,
        peak / 1e6,
        before / 1e6,
    );
    Ok(())
}

fn detections(annotations: &Path, path: &Path, per_image: u64) -> Result<(), Box<dyn Error>> {
    let truth = Annotations::read(annotations)?;
    let mut draws = rng(1, Purpose::Synthesis, 1, 0);
    let mut found = vec![];
    for annotation in &truth.annotations {
        let jitter = |value: f64, draws: &mut dyn Rng| value + 8.0 * (draws.random::<f64>() - 0.5);
        let bbox = annotation
            .bbox
            .map(|value| jitter(value, &mut draws).max(1.0));
        found.push(FoundObject {
            image_id: annotation.image_id,
            category_id: annotation.category_id,
            bbox,
            score: draws.random(),
        });
    }
    for image in &truth.images {
        for _ in 0..per_image {
            let mut side = |most: u32| f64::from(1 + draws.next_u32() % most);
            let (width, height) = (side(200), side(200));
            found.push(FoundObject {
                image_id: image.id,
                category_id: truth.categories[side(truth.categories.len() as u32) as usize - 1].id,
                bbox: [side(440), side(280), width, height],
                score: 0.5 * draws.random::<f64>(),
            });
        }
    }
    write_results(path, &found)?;
    println!("{}: {} detections", path.display(), found.len());
    Ok(())
}

fn evaluate(annotations: &Path, results: &Path) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let evaluated = evaluate_results(results, annotations)?;
    println!(
        "{} detections, AP {:.4}, in {:.2} s with reading both files, peak memory of the process {:.1} MB",
        evaluated.detections,
        evaluated.evaluation.overall.ap,
        started.elapsed().as_secs_f64(),
        peak_memory() / 1e6,
    );
    Ok(())
}

/// The most memory that this process has had, in bytes; 0 where the system does not say.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.and_then(|k| k.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}
