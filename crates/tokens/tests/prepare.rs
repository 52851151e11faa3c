//! Texts to token files and back.

use std::path::PathBuf;

use tokens::{PrepareConfig, TokenError, TokenFile, Tokenizer, prepare};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.at(name), text).unwrap();
        self.at(name)
    }

    fn config(&self, validation_share: f64) -> PrepareConfig {
        PrepareConfig {
            out: self.at("out"),
            validation_share,
            overwrite: true,
        }
    }
}

/// The text of a file of bytes.
fn bytes(path: &std::path::Path) -> String {
    let file = TokenFile::open(path).unwrap();
    let tokens = file.window(0, file.len(), 256).unwrap();
    String::from_utf8(tokens.into_iter().map(|t| t as u8).collect()).unwrap()
}

#[test]
fn documents_are_divided_between_files() {
    let scratch = Scratch::new();
    let texts: Vec<_> = (0..10)
        .map(|i| scratch.text(&format!("{i}"), &format!("document {i}\n")))
        .collect();
    let summary = prepare(&texts, &Tokenizer::Bytes, &scratch.config(0.2)).unwrap();
    assert_eq!(
        (summary.train_documents, summary.validation_documents),
        (8, 2)
    );
    assert_eq!(summary.train_tokens, 8 * 12);
    let validation = summary.validation.unwrap();
    assert_eq!(bytes(&validation), "document 8\n\0document 9\n\0");
    let file = TokenFile::open(&validation).unwrap();
    let sidecar = file.sidecar().unwrap();
    assert_eq!((sidecar.tokens, sidecar.bytes), (24, Some(22)));
    assert_eq!(sidecar.tokenizer, "bytes");
    assert_eq!(sidecar.end_of_document, Some(0));
}

#[test]
fn a_single_document_is_divided_at_the_end_of_a_line() {
    let scratch = Scratch::new();
    let text = scratch.text("a", "one\ntwo\nthree\nfour\n");
    let divided = |share| {
        let summary = prepare(
            std::slice::from_ref(&text),
            &Tokenizer::Bytes,
            &scratch.config(share),
        )
        .unwrap();
        (
            bytes(&summary.train),
            summary.validation.map(|path| bytes(&path)),
        )
    };
    let sides = |train: &str, validation: &str| (train.to_owned(), Some(validation.to_owned()));
    assert_eq!(divided(0.1), sides("one\ntwo\nthree\n\0", "four\n\0"));
    assert_eq!(divided(0.9), sides("one\n\0", "two\nthree\nfour\n\0"));
    assert_eq!(divided(0.0), ("one\ntwo\nthree\nfour\n\0".into(), None));
    assert!(!scratch.at("out/val.bin").exists(), "of the earlier split");
}

#[test]
fn what_cannot_be_done_is_said() {
    let scratch = Scratch::new();
    let line = scratch.text("a", "one line");
    let refused = |texts: &[PathBuf], share| {
        prepare(texts, &Tokenizer::Bytes, &scratch.config(share))
            .unwrap_err()
            .to_string()
    };
    let one = std::slice::from_ref(&line);
    assert!(refused(one, 1.0).contains("--validation-share = 1"));
    assert!(refused(one, f64::NAN).contains("at least 0 and below 1"));
    assert!(refused(one, 0.5).contains("a single line"));
    assert!(refused(&[], 0.5).contains("at least one file"));
    assert!(refused(&[scratch.at("none")], 0.5).contains("none"));
    let mut config = scratch.config(0.0);
    config.overwrite = false;
    prepare(one, &Tokenizer::Bytes, &config).unwrap();
    let again = prepare(one, &Tokenizer::Bytes, &config);
    assert!(matches!(again, Err(TokenError::Exists { .. })));
}

#[cfg(feature = "bpe")]
mod bpe {
    use super::*;
    use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{AddedToken, Model};

    const TEXT: &str = "the cat and the dog; the dog and the cat. Größe: 3,5 €\n\n  the\tend\n";

    /// A tokenizer like GPT-2's, trained on a sentence, in both of its forms.
    fn trained(scratch: &Scratch) {
        let text = scratch.text("corpus", &TEXT.repeat(20));
        let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        let trainer = BpeTrainerBuilder::new()
            .vocab_size(280)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from("<|endoftext|>", true)])
            .build();
        let mut trainer = tokenizers::models::TrainerWrapper::from(trainer);
        let files = vec![text.to_str().unwrap().to_owned()];
        tokenizer.train_from_files(&mut trainer, files).unwrap();
        tokenizer.save(scratch.at("tokenizer.json"), false).unwrap();
        tokenizer.get_model().save(scratch.0.path(), None).unwrap();
    }

    #[test]
    fn both_forms_of_a_tokenizer_give_the_same_tokens() {
        let scratch = Scratch::new();
        trained(&scratch);
        let text = scratch.text("a", TEXT);
        let one = Tokenizer::from_json(&scratch.at("tokenizer.json")).unwrap();
        let pair = Tokenizer::from_vocabulary(&scratch.at("vocab.json"), &scratch.at("merges.txt"))
            .unwrap();
        let tokens = one.encode(TEXT.as_bytes(), &text).unwrap();
        assert_eq!(pair.encode(TEXT.as_bytes(), &text).unwrap(), tokens);
        assert!(tokens.len() < TEXT.len() * 2 / 3, "{} tokens", tokens.len());
        assert_eq!(one.end_of_document(), pair.end_of_document());
        assert_eq!(one.vocabulary(), 280);

        let summary = prepare(&[text], &one, &scratch.config(0.0)).unwrap();
        let file = TokenFile::open(&summary.train).unwrap();
        let mut expected = tokens;
        expected.extend(one.end_of_document());
        assert_eq!(file.window(0, file.len(), 280).unwrap(), expected);
        let sidecar = file.sidecar().unwrap();
        assert_eq!(sidecar.bytes, Some(TEXT.len() as u64));
        assert_eq!(sidecar.tokenizer_sha256, one.sha256());
        assert_ne!(one.sha256(), pair.sha256());
    }

    #[test]
    fn what_is_no_tokenizer_or_no_text_is_named() {
        let scratch = Scratch::new();
        trained(&scratch);
        let bad = scratch.text("bad.json", "{}");
        let message = Tokenizer::from_json(&bad).err().unwrap().to_string();
        assert!(message.contains("bad.json"), "{message}");
        let vocabulary = scratch.at("vocab.json");
        let missing = Tokenizer::from_vocabulary(&vocabulary, &scratch.at("none.txt"));
        assert!(missing.err().unwrap().to_string().contains("none.txt"));
        let large: Vec<String> = (0..70_000).map(|i| format!("\"{i}\":{i}")).collect();
        let large = scratch.text("large.json", &format!("{{{}}}", large.join(",")));
        let merges = scratch.text("merges.txt", "#version: 0.2\n");
        let refused = Tokenizer::from_vocabulary(&large, &merges).err().unwrap();
        assert!(refused.to_string().contains("70000 tokens"), "{refused}");
        let one = Tokenizer::from_json(&scratch.at("tokenizer.json")).unwrap();
        let error = one.encode(&[255, 254], &scratch.at("binary")).unwrap_err();
        assert!(error.to_string().contains("no UTF-8"), "{error}");
    }
}
