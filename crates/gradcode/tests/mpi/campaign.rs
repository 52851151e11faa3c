//! A few cases of the fault campaign (`cargo run --release -p fault-campaign`).

use std::path::Path;

use fault_campaign::launch::Launcher;
use fault_campaign::{Case, combinations};

use super::harness::{PROGRAM, Scratch, one_job};

/// One case of every fault, over all phases, both deadlines, and both sizes of frames.
#[test]
fn a_case_of_every_fault_ends_as_promised() {
    let all = combinations(&[]);
    let picked = |fault: &str, nth: usize| {
        let mut of_fault = all.iter().filter(|(kind, ..)| *kind == fault);
        *of_fault.nth(nth).expect("a combination")
    };
    for (seed, (fault, nth, large)) in (7..).zip([
        ("kill", 5, true),     // payload, quantile, two chunks
        ("freeze", 2, false),  // header, fixed
        ("delay", 4, true),    // payload, fixed, two chunks
        ("corrupt", 5, false), // payload, quantile, one chunk
        ("nan", 0, false),     // compute, fixed
        ("panic", 3, false),   // header, quantile
        ("drop", 0, false),    // compute, fixed
    ]) {
        let case = Case::new(picked(fault, nth), seed, large);
        let scratch = Scratch::new();
        let verdict = {
            let _lock = one_job();
            let launcher = Launcher::find().expect("mpirun, or set MPIEXEC");
            fault_campaign::run(&launcher, Path::new(PROGRAM), &case, &scratch.path(""))
                .expect("a job")
        };
        assert_eq!(
            verdict.violations,
            Vec::<String>::new(),
            "{case}: {verdict:?}"
        );
    }
}
