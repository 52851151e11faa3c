//! `gradcode data tokenize`: text files to token files.

use serde_json::json;
use tokens::{PrepareConfig, TokenError, Tokenizer, prepare};

use crate::cli::TokenizeArgs;
use crate::exit::{Failure, Outcome};
use crate::output;

/// Writes training and held-out tokens.
///
/// # Errors
/// Exit code 2 for arguments that make no sense or files that are there already, 30 for files that
/// cannot be read, understood or written.
pub fn run(args: &TokenizeArgs) -> Outcome {
    let tokenizer = tokenizer(args)?;
    let config = PrepareConfig {
        out: args.out.clone(),
        validation_share: args.validation_share,
        overwrite: args.overwrite,
    };
    let summary = prepare(&args.texts, &tokenizer, &config).map_err(|error| match error {
        TokenError::Setting { .. } => Failure::usage(format!("failed to {error}")),
        TokenError::Exists { .. } => Failure::usage(format!("failed to {error}"))
            .hint("say --overwrite, or choose another --out"),
        error => failure(&error),
    })?;
    if args.json {
        return output::json(&json!(summary));
    }
    let validation = summary
        .validation
        .as_ref()
        .map_or_else(String::new, |path| {
            format!("validation_tokens = {path:?}\n")
        });
    output::print(&format!(
        "{}: {} training tokens of {} documents, {} held-out tokens of {}; {} different tokens\n\
         Use it with\n\
         [data]\n\
         train_tokens = {:?}\n\
         {validation}",
        args.out.display(),
        summary.train_tokens,
        summary.train_documents,
        summary.validation_tokens,
        summary.validation_documents,
        summary.vocabulary,
        summary.train,
    ))
}

fn failure(error: &TokenError) -> Failure {
    Failure::environment("tokenize", error)
}

#[cfg(feature = "bpe")]
fn tokenizer(args: &TokenizeArgs) -> Outcome<Tokenizer> {
    match (&args.tokenizer, &args.vocabulary, &args.merges) {
        (Some(file), ..) => Tokenizer::from_json(file),
        (None, Some(vocabulary), Some(merges)) => Tokenizer::from_vocabulary(vocabulary, merges),
        // Clap lets the two come as a pair only.
        _ => Ok(Tokenizer::Bytes),
    }
    .map_err(|error| failure(&error))
}

#[cfg(not(feature = "bpe"))]
fn tokenizer(args: &TokenizeArgs) -> Outcome<Tokenizer> {
    if args.tokenizer.is_some() || args.vocabulary.is_some() {
        return Err(
            Failure::usage("failed to tokenize: this gradcode has no byte-pair encoding")
                .hint("build it with `cargo build --release --features bpe`"),
        );
    }
    Ok(Tokenizer::Bytes)
}
