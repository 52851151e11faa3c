//! `gradcode codec phi` as a user meets it, and plans made with what it measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn gradcode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("the program starts")
}

/// Standard output of a command that succeeds.
#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    let output = gradcode(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Standard error of a command that ends with `code`.
#[track_caller]
fn fail(code: i32, arguments: &[&str]) -> String {
    let output = gradcode(arguments);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A safetensors file with two arrays, of 1500 coordinates together.
fn gradient_file(dir: &Path) -> PathBuf {
    let values: Vec<f32> = (0..1500)
        .map(|i| (i as f32 * 0.7).sin() * (1.0 + i as f32))
        .collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = |shape, bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).expect("a view")
    };
    let (a, b) = bytes.split_at(4 * 500);
    let path = dir.join("gradient.safetensors");
    let views = [("a", view(vec![20, 25], a)), ("b", view(vec![1000], b))];
    safetensors::serialize_to_file(views, None, &path).expect("a file");
    path
}

#[test]
fn phi_of_a_vector_makes_a_table_that_plans_take() {
    let dir = tempfile::tempdir().expect("a directory");
    let (vector, table) = (gradient_file(dir.path()), dir.path().join("phi.json"));
    let (vector, table) = (vector.to_str().unwrap(), table.to_str().unwrap());
    let measure = [
        "codec",
        "phi",
        "--vector",
        vector,
        "--preset",
        "qsgd-bucketed",
        "--json",
        table,
    ];
    let text = succeed(&measure);
    assert!(
        text.contains("qsgd-bucketed:max:512 on ") && text.contains("1500 coordinates, 1 vector,"),
        "{text}"
    );
    let again = fail(2, &measure);
    assert!(again.contains("it exists"), "{again}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(table).unwrap()).unwrap();
    let one = &json["measurements"][0];
    assert_eq!(
        (&one["on"], &one["dimension"]),
        (&"vector".into(), &1500.into())
    );
    assert!(one["widths"]["4"]["phi"].as_f64().unwrap() > 0.0);
    let array = succeed(&[
        "codec", "phi", "--vector", vector, "--array", "a", "--bits", "3", "--json", "-",
    ]);
    let array: serde_json::Value = serde_json::from_str(&array).expect("JSON");
    assert_eq!(array["measurements"][0]["dimension"], 500);

    let experiment = dir.path().join("exp.toml");
    std::fs::write(
        &experiment,
        "workers = 3\nbudget.mean_bits = 4\nmodel = { kind = \"least-squares\", dimension = 900 }\n",
    )
    .unwrap();
    let experiment = experiment.to_str().unwrap();
    let file = format!("codec.phi={{ file = \"{table}\" }}");
    let planned = succeed(&["plan", experiment, "--set", &file]);
    assert!(
        planned.contains(&format!("phi from {table}: ")),
        "{planned}"
    );
    let planned = succeed(&["plan", experiment, "--set", &file, "--json"]);
    let planned: serde_json::Value = serde_json::from_str(&planned).expect("JSON");
    assert_eq!(planned["phi"]["source"]["file"], table);
    assert_eq!(planned["phi"]["per_worker"].as_array().unwrap().len(), 3);
    for (set, said) in [
        (
            "codec.bucket=1024",
            "it has no phi of qsgd-bucketed:max:1024, only of qsgd-bucketed:max:512",
        ),
        ("codec.preset=qsgd", "it has no phi of qsgd"),
    ] {
        let error = fail(2, &["plan", experiment, "--set", &file, "--set", set]);
        assert!(error.contains(said), "{error}");
    }
    let own = succeed(&[
        "codec",
        "phi",
        experiment,
        "--bits",
        "2,6",
        "--vectors",
        "2",
    ]);
    assert!(
        own.contains("coded gradients of ") && own.contains("900 coordinates, 2 vectors"),
        "{own}"
    );
}

#[test]
fn phi_says_what_it_cannot_measure() {
    let dir = tempfile::tempdir().expect("a directory");
    let vector = gradient_file(dir.path());
    let vector = vector.to_str().unwrap();
    for (code, arguments, said) in [
        (30, &["--vector", "none.npy"][..], "none.npy"),
        (
            30,
            &["--vector", vector, "--array", "c"],
            "it has no array c; it has a, b",
        ),
        (2, &["--preset", "sign", "--bits", "4"], "it has 1"),
        (2, &["--preset", "nothing"], "nothing"),
        (2, &["--messages", "1"], "1"),
        (2, &["none.toml"], "none.toml"),
    ] {
        let error = fail(code, &[&["codec", "phi"], arguments].concat());
        assert!(error.contains(said), "{error}");
    }
}
