use super::*;
use proptest::prelude::*;

fn write(store: &Store, iteration: u64, values: &[f32]) -> PathBuf {
    let mut draft = store.draft(iteration).expect("a draft");
    draft.json("state.json", &iteration).expect("json");
    draft.text("config.toml", "seed = 1\n").expect("text");
    draft
        .vectors("parameters.safetensors", &[("beta", values)])
        .expect("vectors");
    draft.publish().expect("published")
}

fn store(keep: usize) -> (tempfile::TempDir, Store) {
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::new(scratch.path().join("checkpoints"), keep);
    (scratch, store)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, CheckpointError>) -> String {
    format!("failed to {}", result.expect_err("it is damaged"))
}

#[test]
fn a_store_without_checkpoints_has_none() {
    let (_scratch, store) = store(2);
    assert!(store.newest().expect("no error").is_none());
    store.forget_after(0).expect("nothing to forget");
}

#[test]
fn what_is_written_is_read_to_the_bit() {
    let (_scratch, store) = store(1);
    let odd = [f32::MIN_POSITIVE / 2.0, -0.0, f32::MAX, 1.0 / 3.0];
    write(&store, 7, &odd);
    let read = store.newest().expect("whole").expect("there");
    let beta = &read.vectors("parameters.safetensors").expect("vectors")["beta"];
    assert!(
        beta.iter()
            .zip(odd)
            .all(|(a, b)| a.to_bits() == b.to_bits())
    );
    assert_eq!(read.json::<u64>("state.json").expect("json"), 7);
    assert_eq!(read.text("config.toml").expect("text"), "seed = 1\n");
    read.verify().expect("unchanged");
}

/// A name that no directory has cannot be removed as one, by root neither.
#[test]
fn what_cannot_be_removed_does_not_undo_a_checkpoint() {
    let (_scratch, store) = store(1);
    write(&store, 5, &[1.0]);
    let stuck = store.draft_path(3);
    fs::write(&stuck, "not a directory").expect("written");
    write(&store, 10, &[2.0]);
    assert_eq!(store.iterations().expect("listed"), [10]);
    assert!(stuck.exists());
    fs::remove_file(&stuck).expect("removed");
}

#[test]
fn the_newest_are_kept_and_leftovers_removed() {
    let (_scratch, store) = store(2);
    for iteration in [5, 10, 15] {
        write(&store, iteration, &[1.0]);
    }
    assert_eq!(store.iterations().expect("listed"), [15, 10]);
    let stale = store.draft_path(12);
    fs::create_dir_all(&stale).expect("what a crash leaves");
    assert_eq!(store.iterations().expect("listed"), [15, 10]);
    write(&store, 20, &[1.0]);
    assert!(!stale.exists());
    store.forget_after(15).expect("forgotten");
    assert_eq!(store.iterations().expect("listed"), [15]);
    store.clear().expect("removed");
    assert!(store.newest().expect("no error").is_none());
}

#[test]
fn a_checkpoint_of_the_same_iteration_is_replaced() {
    let (_scratch, store) = store(2);
    write(&store, 3, &[1.0]);
    write(&store, 3, &[2.0]);
    let read = store.newest().expect("whole").expect("there");
    assert_eq!(
        read.vectors("parameters.safetensors").expect("vectors")["beta"],
        [2.0]
    );
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let (_scratch, store) = store(2);
    let mut draft = store.draft(4).expect("a draft");
    draft.json("state.json", &1).expect("json");
    drop(draft);
    assert_eq!(fs::read_dir(store.root()).expect("there").count(), 0);
}

#[test]
fn other_directories_and_versions_are_refused_by_name() {
    let (scratch, store) = store(2);
    let message = refusal(Checkpoint::open(scratch.path()));
    assert!(message.contains("no file DONE"), "{message}");
    let message = refusal(Checkpoint::open(scratch.path().join("nowhere")));
    assert!(
        message.contains("nowhere") && message.contains("not a directory"),
        "{message}"
    );
    let path = write(&store, 3, &[1.0]);
    let done = path.join("DONE");
    let text = fs::read_to_string(&done).expect("a manifest");
    fs::write(&done, text.replace("\"version\": 1", "\"version\": 2")).expect("written");
    let message = refusal(store.newest());
    assert!(
        message.contains("version 2") && message.contains("iteration-000000000003"),
        "{message}"
    );
}

proptest! {
    /// Whatever byte of whatever file changes, or however it is cut, reading it says so.
    #[test]
    fn damage_is_found(file in 0usize..4, at in 0usize..4000, cut: bool, flip in 1u8..) {
        let (_scratch, store) = store(2);
        write(&store, 3, &[0.25; 50]);
        let path = write(&store, 6, &[0.5; 50]);
        let name = ["state.json", "config.toml", "parameters.safetensors", "DONE"][file];
        let mut bytes = fs::read(path.join(name)).expect("there");
        let at = at % bytes.len();
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        fs::write(path.join(name), bytes).expect("written");
        let outcome = store.newest().and_then(|read| {
            let read = read.expect("there");
            read.verify()?;
            Ok((read.iteration(), read.files().map(str::to_owned).collect::<Vec<_>>()))
        });
        match outcome {
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.contains("iteration-000000000006"), "{}", message);
            }
            // White space of the manifest may change without consequence, and so may the iteration
            // it states, which the caller's own state tells again.
            Ok((_, files)) => {
                prop_assert!(name == "DONE" && !cut);
                prop_assert_eq!(files, ["state.json", "config.toml", "parameters.safetensors"]);
            }
        }
        let previous = Checkpoint::open(store.path_of(3)).and_then(|read| read.verify());
        prop_assert!(previous.is_ok());
    }
}
