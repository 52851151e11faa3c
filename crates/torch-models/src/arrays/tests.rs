use super::*;
use std::collections::HashMap;

fn columns(set: &Arrays) -> Vec<(String, Kind, Vec<i64>)> {
    let columns = set.columns().into_iter();
    columns.map(|c| (c.name, c.kind, c.shape)).collect()
}

/// x: [5, 2, 3] f32, y: [5] i64.
fn tensors() -> HashMap<&'static str, Tensor> {
    HashMap::from([
        (
            "x",
            Tensor::arange(30, (Kind::Float, Device::Cpu)).view([5, 2, 3]),
        ),
        ("y", Tensor::from_slice(&[4i64, 3, 2, 1, 0])),
    ])
}

/// Every format, with the same arrays in each.
fn written(directory: &Path) -> Vec<PathBuf> {
    let tensors = tensors();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, t)| (*name, t)).collect();
    let (safe, zipped) = (directory.join("set.safetensors"), directory.join("set.npz"));
    Tensor::write_safetensors(&named, &safe).unwrap();
    Tensor::write_npz(&named, &zipped).unwrap();
    let folder = directory.join("folder");
    std::fs::create_dir(&folder).unwrap();
    for (name, tensor) in &named {
        tensor
            .write_npy(folder.join(format!("{name}.npy")))
            .unwrap();
    }
    let grouped = directory.join("set.h5");
    let file = hdf5::File::create(&grouped).unwrap();
    let x: Vec<f32> = (0..30).map(|v| v as f32).collect();
    let set = file.new_dataset::<f32>().shape([5, 2, 3]).create("x");
    set.unwrap().write_raw(&x).unwrap();
    let set = file.new_dataset::<i64>().shape([5]).create("y");
    set.unwrap().write_raw(&[4i64, 3, 2, 1, 0]).unwrap();
    vec![safe, zipped, folder, grouped]
}

#[test]
fn every_format_gives_the_same_rows() {
    let scratch = tempfile::tempdir().unwrap();
    for path in written(scratch.path()) {
        let names = ["y".to_owned(), "x".to_owned()];
        let set = Arrays::open(&path, &names).unwrap();
        assert_eq!(set.len(), 5, "{}", path.display());
        assert_eq!(
            columns(&set),
            [
                ("y".to_owned(), Kind::Int64, vec![]),
                ("x".to_owned(), Kind::Float, vec![2, 3])
            ]
        );
        let rows: Vec<_> = [3, 0].map(|k| (k, set.get(k).unwrap())).into();
        let stacked = stack(&set.columns(), &rows, Device::Cpu).unwrap();
        assert_eq!(stacked[0], Tensor::from_slice(&[1i64, 4]));
        let expected = tensors()["x"].index_select(0, &Tensor::from_slice(&[3i64, 0]));
        assert_eq!(stacked[1], expected);
        assert!(set.get(5).unwrap_err().to_string().contains("no row 5"));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let refused = |path: &Path, wanted: &[&str]| {
        let error = Arrays::open(path, &names(wanted)).unwrap_err();
        error.to_string()
    };
    for path in written(scratch.path()) {
        let unnamed = refused(&path, &[]);
        assert!(unnamed.contains("x, y"), "{unnamed}");
        let missing = refused(&path, &["x", "z"]);
        assert!(missing.contains("no array z"), "{missing}");
        let twice = refused(&path, &["x", "x"]);
        assert!(twice.contains("once"), "{twice}");
    }
    let unequal = scratch.path().join("unequal.safetensors");
    let three = Tensor::zeros([3], (Kind::Float, Device::Cpu));
    let number = Tensor::from(1.0);
    Tensor::write_safetensors(&[("a", &three), ("b", &tensors()["y"])], &unequal).unwrap();
    let said = refused(&unequal, &["a", "b"]);
    assert!(said.contains("a has 3 rows and b has 5"), "{said}");
    Tensor::write_safetensors(&[("a", &number)], &unequal).unwrap();
    assert!(refused(&unequal, &[]).contains("not an array of rows"));
    std::fs::write(&unequal, b"none").unwrap();
    assert!(refused(&unequal, &[]).contains("unequal.safetensors"));
    assert!(refused(Path::new("/nowhere.csv"), &[]).contains("expected a file ending in"));
}
