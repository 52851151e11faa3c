//! Starts jobs under mpirun, watches them, and cleans up behind them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gradcode");

/// No job of these tests needs longer, on a busy machine either.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Held while a job runs: more than one at a time would disturb each other's timing.
static ONE_JOB: Mutex<()> = Mutex::new(());

/// For jobs that are started by other means than [`Launch`].
pub fn one_job() -> MutexGuard<'static, ()> {
    ONE_JOB.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary directory whose path also tells this test's processes from all others.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let prefix = "gradcode-mpi-";
        Scratch(tempfile::TempDir::with_prefix(prefix).expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a temporary file");
        path
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        path
    }

    /// A small data set of textured shapes, in `shapes/`; returns the TOML of `[data]` for it, with
    /// paths relative to this directory.
    pub fn shapes(&self) -> String {
        let made = command(Path::new(PROGRAM))
            .args(["data", "synth", "--images", "24", "--validation", "8"])
            .args(["--side", "64", "--out"])
            .arg(self.path("shapes"))
            .output()
            .expect("the program starts");
        assert!(made.status.success(), "{made:?}");
        "[data]\n\
         train_annotations = \"shapes/instances_train.json\"\n\
         train_images = \"shapes/train\"\n\
         validation_annotations = \"shapes/instances_val.json\"\n\
         validation_images = \"shapes/val\"\n\
         batch = 2\n"
            .to_owned()
    }
}

/// A command with the environment that several ranks on few cores need.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("OMP_NUM_THREADS", "1")
        .env("OMP_WAIT_POLICY", "passive")
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command
}

/// `mpirun`, and whether it is Open MPI's.
fn launcher() -> (PathBuf, bool) {
    let program = std::env::var_os("MPIEXEC").unwrap_or_else(|| "mpirun".into());
    let output = Command::new(&program).arg("--version").output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{} does not start ({error}); set MPIEXEC",
            program.display()
        )
    });
    let open_mpi = String::from_utf8_lossy(&output.stdout).contains("Open MPI");
    (program.into(), open_mpi)
}

/// The program and its arguments under `sh`, which runs `script` with them as "$@".
pub fn in_shell(script: &str, arguments: &[String]) -> Vec<String> {
    ["sh", "-c", script, "sh", PROGRAM]
        .into_iter()
        .map(str::to_owned)
        .chain(arguments.iter().cloned())
        .collect()
}

/// One group of ranks: how many, and the command they run.
pub type Group = (usize, Vec<String>);

/// A job to be launched.
pub struct Launch {
    groups: Vec<Group>,
    directory: PathBuf,
    survive_exits: bool,
    survive_deaths: bool,
}

impl Launch {
    /// `ranks` ranks of `gradcode train` with `arguments`, started in `scratch`.
    pub fn train(scratch: &Scratch, ranks: usize, arguments: &[String]) -> Self {
        let mut words = vec![PROGRAM.to_owned()];
        words.extend_from_slice(arguments);
        Self::groups(scratch, vec![(ranks, words)])
    }

    /// Ranks that run different commands.
    pub fn groups(scratch: &Scratch, groups: Vec<Group>) -> Self {
        Launch {
            groups,
            directory: scratch.path(""),
            survive_exits: false,
            survive_deaths: false,
        }
    }

    /// A rank that exits with an error does not take the others along, so that they can show what
    /// code they exit with.
    pub fn survive_exits(mut self) -> Self {
        self.survive_exits = true;
        self
    }

    /// A rank that dies does not take the others along (Open MPI).
    pub fn survive_deaths(mut self) -> Self {
        self.survive_deaths = true;
        self
    }

    pub fn start(self) -> Job {
        let lock = one_job();
        let (program, open_mpi) = launcher();
        let mut command = command(&program);
        if open_mpi {
            command.args(["--oversubscribe", "--bind-to", "none"]);
            if self.survive_deaths {
                command.arg("--enable-recovery");
            }
            if self.survive_exits {
                command.args(["--mca", "orte_abort_on_non_zero_status", "0"]);
            }
        }
        for (k, (ranks, words)) in self.groups.iter().enumerate() {
            if k > 0 {
                command.arg(":");
            }
            command.arg("-n").arg(ranks.to_string()).args(words);
        }
        // To a file: an orphan would keep a pipe open for ever.
        let output = tempfile::NamedTempFile::new().expect("a temporary file");
        let clone = |file: &File| file.try_clone().expect("a second handle");
        let launcher = command
            .current_dir(&self.directory)
            .stdin(std::process::Stdio::null())
            .stdout(clone(output.as_file()))
            .stderr(clone(output.as_file()))
            .process_group(0)
            .spawn()
            .expect("the launcher starts");
        Job {
            launcher,
            marker: self.directory.display().to_string(),
            output,
            started: Instant::now(),
            _lock: lock,
        }
    }

    pub fn run(self) -> Finished {
        self.start().finish()
    }
}

/// A job that was launched.
pub struct Job {
    launcher: Child,
    /// What the command lines of its ranks contain.
    marker: String,
    output: tempfile::NamedTempFile,
    started: Instant,
    _lock: MutexGuard<'static, ()>,
}

/// A job that has ended.
pub struct Finished {
    pub code: Option<i32>,
    pub output: String,
    pub seconds: f64,
}

impl Job {
    /// What all ranks have printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path()).expect("the output")).into_owned()
    }

    /// Waits until `condition` holds, which must happen while the job runs.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        while !condition() {
            let ended = self.launcher.try_wait().expect("a child").is_some();
            if (ended || self.started.elapsed() > TIME_LIMIT) && !condition() {
                let output = self.output();
                panic!("the job never got there: {what} (ended: {ended})\n{output}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `directory` holds a run that trains.
    pub fn wait_for_training(&mut self, directory: &Path) {
        self.wait_until("training begins", || {
            status(directory).is_some_and(|status| status["outcome"] == "running")
        });
    }

    /// Process id of each rank, once all `ranks` are there.
    pub fn pids(&mut self, ranks: usize) -> BTreeMap<usize, i32> {
        let marker = self.marker.clone();
        let mut found = BTreeMap::new();
        self.wait_until("all ranks run", || {
            found = ranks_of(&marker);
            found.len() == ranks
        });
        found
    }

    /// The launcher.
    pub fn pid(&self) -> i32 {
        self.launcher.id() as i32
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// At the time limit, with what the job printed.
    pub fn finish(mut self) -> Finished {
        let status = self.ended_within(TIME_LIMIT).unwrap_or_else(|| {
            panic!(
                "the job is still there after {TIME_LIMIT:?}:\n{}",
                self.output()
            )
        });
        Finished {
            code: status.code(),
            output: self.output(),
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    /// How the launcher ended, if it does so before the limit.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.launcher.try_wait().expect("a child") {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Job {
    /// Ends whatever is left of the job.
    fn drop(&mut self) {
        if self.ended_within(Duration::ZERO).is_none() {
            signal(-self.pid(), libc::SIGTERM);
            self.ended_within(Duration::from_secs(3));
        }
        if self.ended_within(Duration::ZERO).is_none() {
            signal(-self.pid(), libc::SIGKILL);
            let _ = self.launcher.wait();
        }
        for pid in ranks_of(&self.marker).into_values() {
            signal(pid, libc::SIGKILL); // the launcher gives ranks groups of their own
        }
    }
}

impl Finished {
    /// Fails unless the job ended with `code`.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.output);
        self
    }

    /// The one error that the job printed.
    #[track_caller]
    pub fn error(&self) -> &str {
        let output = &self.output;
        assert!(!output.contains("panicked"), "{output}");
        let at: Vec<_> = output.match_indices("gradcode: error: ").collect();
        assert_eq!(at.len(), 1, "exactly one error\n{output}");
        &output[at[0].0..]
    }
}

/// Sends a signal; a process that is gone by now is no error.
pub fn signal(pid: i32, number: i32) {
    // SAFETY: kill takes no memory.
    unsafe { libc::kill(pid, number) };
}

/// Ranks whose command line contains `marker`, with their process ids.
pub fn ranks_of(marker: &str) -> BTreeMap<usize, i32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        if !String::from_utf8_lossy(&read("cmdline")).contains(marker) {
            continue;
        }
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let rank = environment.split('\0').find_map(|variable| {
            let (name, value) = variable.split_once('=')?;
            ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"]
                .contains(&name)
                .then(|| value.parse().ok())?
        });
        found.extend(rank.map(|rank: usize| (rank, pid)));
    }
    found
}

/// A run directory's `status.json`, if there is one.
pub fn status(directory: &Path) -> Option<Value> {
    let text = fs::read_to_string(directory.join("status.json")).ok()?;
    Some(serde_json::from_str(&text).expect("status.json is replaced atomically"))
}

/// Arguments of `gradcode train EXPERIMENT --out OUT`.
pub fn train(experiment: &Path, out: &Path) -> Vec<String> {
    arguments("train", experiment, out)
}

fn arguments(command: &str, experiment: &Path, out: &Path) -> Vec<String> {
    [
        command.to_owned(),
        experiment.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
    ]
    .to_vec()
}

/// Runs `gradcode simulate` in `scratch`; it must succeed.
#[track_caller]
pub fn simulate(scratch: &Scratch, experiment: &Path, out: &Path) {
    let output = command(Path::new(PROGRAM))
        .args(arguments("simulate", experiment, out))
        .current_dir(scratch.path(""))
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
