//! The driver: seeds, changed again and again; an input that leads to something new is changed further.
//!
//! What is new is told by the target in words, since a build of the tests shows no coverage: another error, another count.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::support::{chance::Chance, repository};

/// Longest input, in bytes.
const MAX_INPUT: usize = 256 * 1024;
/// Most inputs that are changed further.
const MAX_POOL: usize = 4_096;
/// Longest that an input may take, on a machine that does other things too and in a build without optimization.
const MAX_TIME: Duration = Duration::from_secs(10);
/// An input that takes longer than this never ends.
const HANGS: Duration = Duration::from_secs(60);

/// Bytes that mean something somewhere.
const BYTES: &[u8] = b"{}[]()<>\",:;.*\\/=-+#@%&'_ \n\r\t\0\x01aeEtfnuTZ0159\x7f\x80\xc2\xed\xef\xff";
/// Numbers at edges.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "59",
    "60",
    "365",
    "366",
    "1000",
    "65536",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "0.1",
];

/// What is fuzzed.
pub struct Target {
    pub name: &'static str,
    /// Where inputs are kept, by default [`corpus`].
    pub folder: PathBuf,
    /// What is changed, besides the files of the corpus.
    pub seeds: Vec<Vec<u8>>,
    /// Words that are put in.
    pub words: &'static [&'static str],
    /// Inputs of a short run.
    pub rounds: u64,
    /// Takes an input, panics when something is wrong, and says in words what became of it.
    pub check: Check,
}

/// See [`Target::check`].
pub type Check = Box<dyn FnMut(&[u8]) -> String>;

/// Where the inputs of a target are kept.
pub fn corpus(target: &str) -> PathBuf {
    repository().join("tests/fuzz/corpus").join(target)
}

/// Runs a target: all of its corpus first, then changed inputs.
#[track_caller]
pub fn fuzz(target: Target) {
    let most = target.rounds * number("FIREDRILL_CASES").unwrap_or(1);
    let first = number("FIREDRILL_SEED").unwrap_or(0);
    let mut run = Run::new(target);
    let mut pool = run.corpus();
    for input in pool.clone() {
        run.once(&input);
    }
    for round in 0..most {
        let input = changed(&mut Chance::new(first + round), &pool, run.target.words);
        if run.once(&input) && pool.len() < MAX_POOL {
            pool.push(input);
        }
    }
    let (name, outcomes, slowest) = (run.target.name, run.outcomes.len(), run.slowest);
    println!("{name}: {most} rounds from seed {first} on, {outcomes} different outcomes, slowest {slowest:.1?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// The input that is being looked at, and since when.
type Watched = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

struct Run {
    target: Target,
    outcomes: BTreeSet<String>,
    slowest: Duration,
    watched: Watched,
    /// Its end tells the watch to end.
    _watch: mpsc::Sender<()>,
}

impl Run {
    fn new(target: Target) -> Self {
        let watched = Watched::default();
        let (ends, ended) = mpsc::channel();
        let (seen, name, folder) = (watched.clone(), target.name, target.folder.clone());
        std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let input = seen.lock().expect("no panic").clone();
                if let Some((_, input)) = input.filter(|(began, _)| began.elapsed() > HANGS) {
                    eprintln!("{name} hangs: {}", keep(&folder, "hang", &input));
                    std::process::abort();
                }
            }
        });
        Self { target, outcomes: BTreeSet::new(), slowest: Duration::ZERO, watched, _watch: ends }
    }

    /// The files of the corpus in name order, and the seeds.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&self.target.folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("an entry").path()).collect();
        paths.sort();
        let files = paths.iter().map(|path| std::fs::read(path).expect("a file"));
        let corpus: Vec<Vec<u8>> = files.chain(self.target.seeds.iter().cloned()).collect();
        assert!(!corpus.is_empty(), "no input to begin with");
        corpus
    }

    /// Gives an input to the target, keeps it when something is wrong, and tells whether its outcome is new.
    fn once(&mut self, input: &[u8]) -> bool {
        let began = Instant::now();
        *self.watched.lock().expect("no panic") = Some((began, input.to_vec()));
        let checked = catch_unwind(AssertUnwindSafe(|| (self.target.check)(input)));
        *self.watched.lock().expect("no panic") = None;
        let took = began.elapsed();
        self.slowest = self.slowest.max(took);
        let (name, folder) = (self.target.name, &self.target.folder);
        match checked {
            Ok(_) if took > MAX_TIME => panic!("{name} took {took:?}: {}", keep(folder, "slow", input)),
            Ok(outcome) => self.outcomes.insert(shape(&outcome)),
            Err(panic) => {
                eprintln!("{name} failed: {}", keep(folder, "crash", input));
                resume_unwind(panic)
            }
        }
    }
}

/// Keeps an input in the corpus and says so.
fn keep(folder: &Path, what: &str, input: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder.join(format!("{what}-{:016x}", hasher.finish()));
    let kept = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, input));
    match kept {
        Ok(()) => {
            format!("the input is in {}, where the next run begins; commit it with what mends it", path.display())
        }
        Err(error) => format!("the input could not be kept ({error}): {:?}", String::from_utf8_lossy(input)),
    }
}

/// An outcome without what only this input has: numbers, and what is quoted.
fn shape(outcome: &str) -> String {
    let mut shape = String::new();
    let mut quoted = None;
    for c in outcome.chars().take(2_000) {
        match quoted {
            Some(end) if c == end => quoted = None,
            Some(_) => {}
            None if "`\"".contains(c) => quoted = Some(c),
            None if c.is_ascii_digit() => {}
            None => shape.push(c),
        }
    }
    shape.truncate(shape.char_indices().nth(300).map_or(shape.len(), |(at, _)| at));
    shape
}

/// An input out of others.
fn changed(chance: &mut Chance, pool: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let any = |chance: &mut Chance, count: usize| -> usize {
        if count == 0 { 0 } else { usize::try_from(chance.between(0, count as u64 - 1)).expect("an index") }
    };
    // One that nobody wrote, now and then.
    if chance.one_in(50) {
        return (0..any(chance, 200)).map(|_| u8::try_from(chance.between(0, 255)).expect("a byte")).collect();
    }
    let mut bytes = pool[any(chance, pool.len())].clone();
    for _ in 0..=any(chance, 6) {
        let at = any(chance, bytes.len() + 1);
        let longest = if chance.one_in(8) { 2_000 } else { 12 };
        let to = (at + any(chance, longest)).min(bytes.len());
        match chance.between(0, 9) {
            0 => bytes.insert(at, BYTES[any(chance, BYTES.len())]),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                let elsewhere = any(chance, bytes.len() + 1);
                bytes.splice(elsewhere..elsewhere, part);
            }
            3 => bytes[at..to].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
            4 => {
                let other = &pool[any(chance, pool.len())];
                let from = any(chance, other.len() + 1);
                let part = other[from..(from + any(chance, 300)).min(other.len())].to_vec();
                bytes.splice(at..to, part);
            }
            5 => drop(bytes.splice(at..to, NUMBERS[any(chance, NUMBERS.len())].bytes())),
            6 | 7 if !words.is_empty() => drop(bytes.splice(at..to, words[any(chance, words.len())].bytes())),
            8 if chance.one_in(10) => {
                let times = any(chance, 2_000);
                let part = bytes[at..to].repeat(times);
                bytes.splice(at..at, part);
            }
            8 => bytes.truncate(at.max(1)),
            _other => {
                let to = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(at..to, NUMBERS[any(chance, NUMBERS.len())].bytes());
            }
        }
    }
    bytes.truncate(MAX_INPUT);
    bytes
}

#[test]
fn what_goes_wrong_is_found() {
    let kept = tempfile::tempdir().expect("a folder");
    let found = |check: Check| {
        let (seeds, folder) = (vec![b"{\"a\": 12}".to_vec()], kept.path().to_owned());
        let target = Target { name: "none", folder, seeds, words: &["word"], rounds: 2_000, check };
        catch_unwind(AssertUnwindSafe(|| fuzz(target))).is_err()
    };
    // Two things that must both come into one input, the second of which is only found by keeping the first.
    let check = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        assert!(!(text.contains("wordword") && text.contains("65536")), "found");
        format!("{} {}", text.contains("word"), text.contains("wordword"))
    };
    assert!(!found(Box::new(|_input| String::new())));
    assert!(found(Box::new(check)));
    // What was found comes first from now on.
    assert_eq!(std::fs::read_dir(kept.path()).expect("a folder").count(), 1);
}
