//! Writes the log of a made-up run and prints what its commits cost.
//!
//! `cargo run --release -p run-log --example synthetic_run -- PATH [ITERATIONS [WORKERS [BITS]]]`,
//! to try readers and figures without training anything.

use std::time::Instant;

use run_log::{IterationRow, LogError, PlanRecord, RunInfo, RunLog, Segment};

/// A uniform number in (0, 1) that depends on its arguments alone (SplitMix64).
fn uniform(a: u64, b: u64) -> f64 {
    let mut z = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
}

fn main() -> Result<(), LogError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = arguments.first() else {
        eprintln!("usage: synthetic_run PATH [ITERATIONS [WORKERS [BITS]]]");
        std::process::exit(2);
    };
    let number = |i: usize, default: u64| {
        arguments
            .get(i)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (iterations, workers, bits) = (number(1, 600), number(2, 4) as usize, number(3, 6));

    let dimension = 318_541;
    let rates: Vec<f64> = (0..workers)
        .map(|i| 0.5 + 8.0 * (i as f64 + 0.5) / workers as f64)
        .collect();
    let deadline = 1.4;
    let probability: Vec<f64> = rates
        .iter()
        .map(|rate| (-rate * (deadline - 1.0f64)).exp())
        .collect();
    let widths: Vec<i64> = (0..workers)
        .map(|i| (bits + 2 * i as u64 / workers as u64) as i64)
        .collect();
    let info = RunInfo {
        title: format!("synthetic, {bits} bits"),
        source: concat!("synthetic_run ", env!("CARGO_PKG_VERSION")).into(),
        command_line: arguments.join(" "),
        seed: 1,
        workers,
        dimension,
        mpi_library: "none".into(),
        config_toml: "title = \"synthetic\"\n".into(),
        segment: Segment {
            ranks: workers as u64 + 1,
            hosts: "localhost".into(),
            ..Segment::default()
        },
        ..RunInfo::default()
    };
    let mut log = RunLog::overwrite(path, &info)?;
    log.push_plan(
        0,
        &PlanRecord {
            reason: "start".into(),
            scheme: "joint".into(),
            partitions: workers as u64,
            decode_weight: probability.iter().map(|p| 1.0 / (1.0 - p)).collect(),
            load: vec![1; workers],
            encoding: (0..workers as u64).map(|i| (i, i, 1.0)).collect(),
            straggle_probability: probability,
            bits: widths.clone(),
            computation_load: 1.0,
            json: "{}".into(),
            ..PlanRecord::default()
        },
    )?;
    let mut clock = 1.75e9;
    for t in 0..iterations {
        let mut row = IterationRow::new(t, workers);
        row.deadline = deadline * 0.05;
        for i in 0..workers {
            let delay = (1.0 - uniform(t, i as u64).ln() / rates[i]) * 0.05;
            let offered = dimension * widths[i] as u64 + 512;
            row.bits_up_offered += offered;
            row.bits_up += 384;
            row.bits_down += 32 * dimension;
            row.per_worker.seconds_compute[i] = delay * 0.8;
            row.per_worker.seconds_encode[i] = 0.0004;
            if delay <= row.deadline {
                row.responders += 1;
                row.bits_up += offered;
                row.bits_up_payload += offered - 512;
                row.per_worker.bits[i] = offered as i64;
                row.per_worker.arrival_time[i] = delay;
                row.per_worker.late_iterations[i] = 0;
            } else {
                row.late += 1;
                row.per_worker.late_iterations[i] = 1;
            }
        }
        let progress = t as f64 / iterations as f64;
        let noise = uniform(t, 77) - 0.5;
        row.loss = 0.4 + 4.0 * (-5.0 * progress).exp() + 0.6 * noise * (1.0 - 0.5 * progress);
        row.loss_decoded = row.loss * (1.0 + 0.4 * (uniform(t, 78) - 0.5));
        row.learning_rate = 0.05 * (1.0 - progress);
        row.gradient_norm = 10.0 * (-progress).exp();
        (row.seconds_wait, row.seconds_decode) = (row.deadline, 0.001 * row.responders as f64);
        (row.seconds_step, row.seconds_log) = (0.002, 0.0003);
        row.seconds_round =
            row.seconds_wait + row.seconds_decode + row.seconds_step + row.seconds_log + 0.004;
        clock += row.seconds_round;
        row.time = clock;
        log.push(row)?;
        if (t + 1) % (iterations / 6).max(1) == 0 {
            let ap50 = 0.9 * (1.0 - (-4.0 * progress).exp());
            let metrics = [
                ("AP", 0.6 * ap50),
                ("AP50", ap50),
                ("AP75", 0.5 * ap50),
                ("loss", 0.5 + 4.0 * (-5.0 * progress).exp()),
            ];
            log.push_evaluation(
                t + 1,
                &metrics.map(|(name, value)| (name.to_owned(), value)),
            );
        }
    }
    let started = Instant::now();
    log.commit()?;
    println!(
        "{iterations} iterations of {workers} workers committed at once in {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    for extra in 0..3 {
        log.push(IterationRow::new(iterations + extra, workers))?;
        let started = Instant::now();
        log.commit()?;
        println!(
            "one more in {:.1} ms",
            started.elapsed().as_secs_f64() * 1e3
        );
    }
    log.finish()?;
    // Leave the made-up run alone in the file.
    RunLog::resume(path, iterations, workers, &Segment::default())?.finish()?;
    println!(
        "{path}: {} bytes",
        std::fs::metadata(path).map_or(0, |file| file.len())
    );
    Ok(())
}
