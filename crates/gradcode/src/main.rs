//! gradcode: coded, quantized distributed training over MPI.
//!
//! From the bottom up: [`exit`] (codes, the error type), [`config`] (layers of TOML to a typed
//! configuration, and from there to what the other crates take), [`phi`] (quantization errors, measured), [`run`] and [`study`] (one run, and
//! many), [`commands`] (one file each), [`report`] (reading runs back), [`cli`] (the command line). The training loop itself is in the
//! crate `cluster`.

mod cli;
mod commands;
mod config;
mod exit;
mod headline;
mod output;
mod phi;
mod report;
mod run;
mod study;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, CodecCommand, Command, ConfigCommand, DataCommand};

fn main() -> ExitCode {
    // `train` replaces the hook by one that takes the other ranks along.
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if cluster::caught(panic) {
            return;
        }
        default_hook(panic);
        eprintln!(
            "gradcode: error: this is a bug in gradcode, please report it with the lines above"
        );
        std::process::exit(i32::from(exit::BUG));
    }));
    let outcome = match Cli::parse().command {
        Command::Train(args) => commands::train::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Allocate(args) => commands::allocate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Detect(args) => commands::detect::run(&args),
        Command::Data(DataCommand::Synth(args)) => commands::data::synth(&args),
        Command::Data(DataCommand::Check(args)) => commands::data::check(&args),
        Command::Data(DataCommand::Tokenize(args)) => commands::tokenize::run(&args),
        Command::Codec(CodecCommand::Phi(args)) => commands::codec::phi(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Config(ConfigCommand::Default) => commands::config::default(),
        Command::Config(ConfigCommand::Check(args)) => commands::config::check(&args),
        Command::Config(ConfigCommand::Show(args)) => commands::config::show(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
