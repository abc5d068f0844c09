//! One target, that of the program's own name, for libFuzzer.
//!
//! Told a folder by `FIREDRILL_FUZZ_SEEDS`, it writes the seeds that are made up in code into it, and libFuzzer's dictionary
//! of words that mean something beside it, and ends.

#![no_main]

use std::{cell::RefCell, path::Path};

use firedrill_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TARGET: RefCell<Target> = RefCell::new(target(env!("CARGO_BIN_NAME")));
}

fn write_seeds(folder: &Path) {
    TARGET.with_borrow(|target| {
        for (number, seed) in target.seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a file");
        }
        let escaped = |word: &str| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let words = target.words.iter().map(|word| format!("\"{}\"\n", escaped(word)));
        std::fs::write(folder.with_extension("dict"), words.collect::<String>()).expect("a file");
    });
}

fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("FIREDRILL_FUZZ_SEEDS") {
            write_seeds(Path::new(&folder));
            std::process::exit(0);
        }
    },
    |input: &[u8]| {
        let _outcome = TARGET.with_borrow_mut(|target| (target.check)(input));
    }
);
