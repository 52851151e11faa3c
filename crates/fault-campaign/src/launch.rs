//! One job under mpirun, with a time limit, and nothing left behind.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The launcher and its options.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    open_mpi: bool,
    ulfm: bool,
    recovery: bool,
}

/// How long a job may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until it counts as hanging.
    pub job: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            job: Duration::from_secs(120),
        }
    }
}

/// A job that has ended, or was ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The launcher's exit code; `None` after a signal, or when it had to be killed.
    pub code: Option<i32>,
    /// It did not end within the limit.
    pub hung: bool,
    /// What all ranks have printed.
    pub output: String,
    /// How long it took.
    pub seconds: f64,
    /// Processes that were still there five seconds after the end.
    pub orphans: Vec<i32>,
}

impl Launcher {
    /// `$MPIEXEC`, or `mpirun`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn find() -> io::Result<Self> {
        let program = PathBuf::from(std::env::var_os("MPIEXEC").unwrap_or("mpirun".into()));
        let version = Command::new(&program).arg("--version").output()?;
        let open_mpi = String::from_utf8_lossy(&version.stdout).contains("Open MPI");
        Ok(Self {
            program,
            open_mpi,
            ulfm: false,
            recovery: true,
        })
    }

    /// Asks for user-level fault mitigation (Open MPI 5): the master is told of a death at once.
    #[must_use]
    pub fn with_ulfm(mut self, ulfm: bool) -> Self {
        self.ulfm = ulfm;
        self
    }

    /// Lets the launcher end the job when a rank dies, as it does unless told otherwise.
    #[must_use]
    pub fn default_recovery(mut self) -> Self {
        self.recovery = false;
        self
    }

    /// Whether the master is told of a death.
    pub fn tells(&self) -> bool {
        self.ulfm
    }

    /// Whether it lets a job go on of which a rank has died.
    pub fn survives_deaths(&self) -> bool {
        self.open_mpi
    }

    /// Runs `ranks` ranks of `program` and waits for the end. What remains at the limit is killed.
    ///
    /// The job is told from others by `directory`, which must be of its own and stand in the
    /// arguments.
    ///
    /// # Errors
    /// If the launcher cannot be started or waited for.
    pub fn run(
        &self,
        ranks: usize,
        program: &Path,
        arguments: &[String],
        directory: &Path,
        limits: Limits,
    ) -> io::Result<Ended> {
        self.run_watched(ranks, program, arguments, directory, limits, &mut |_| {})
    }

    /// [`Launcher::run`] with `watch` called every few milliseconds with the time since the start.
    ///
    /// # Errors
    /// As [`Launcher::run`].
    pub fn run_watched(
        &self,
        ranks: usize,
        program: &Path,
        arguments: &[String],
        directory: &Path,
        limits: Limits,
        watch: &mut dyn FnMut(Duration),
    ) -> io::Result<Ended> {
        // To a file: an orphan would keep a pipe open for ever.
        let output = directory.join("output.txt");
        let file = fs::File::create(&output)?;
        let mut command = Command::new(&self.program);
        command
            .env("OMP_NUM_THREADS", "1")
            .env("OMP_WAIT_POLICY", "passive")
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        if self.open_mpi {
            command.args(["--oversubscribe", "--bind-to", "none"]);
            match self.ulfm {
                true => command.args(["--with-ft", "ulfm"]),
                false if self.recovery => command.arg("--enable-recovery"),
                false => &mut command,
            };
        }
        let started = Instant::now();
        let mut launcher = command
            .args(["-n", &ranks.to_string()])
            .arg(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()?;
        let status = wait(&mut launcher, limits.job, watch)?;
        let seconds = started.elapsed().as_secs_f64();
        if status.is_none() {
            signal(-(launcher.id() as i32), libc::SIGTERM);
            if wait(&mut launcher, Duration::from_secs(3), &mut |_| {})?.is_none() {
                signal(-(launcher.id() as i32), libc::SIGKILL);
                launcher.wait()?;
            }
        }
        let marker = directory.display().to_string();
        let orphans = left_after(&marker, Duration::from_secs(5));
        for &pid in &orphans {
            signal(pid, libc::SIGKILL);
        }
        Ok(Ended {
            code: status.and_then(|status| status.code()),
            hung: status.is_none(),
            output: String::from_utf8_lossy(&fs::read(&output)?).into_owned(),
            seconds,
            orphans,
        })
    }
}

fn wait(
    child: &mut Child,
    limit: Duration,
    watch: &mut dyn FnMut(Duration),
) -> io::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            return Ok(None);
        }
        watch(started.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills a rank of the job that is told from others by `directory`; false if there is none (yet).
pub fn kill_rank(directory: &Path, rank: usize) -> bool {
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let has_rank = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| variable == wanted.as_bytes())
    };
    let marker = directory.display().to_string();
    let found = processes_with(&marker).into_iter().find(has_rank);
    if let Some(pid) = found {
        signal(pid, libc::SIGKILL);
    }
    found.is_some()
}

/// Processes of the job that are still there after `limit`.
fn left_after(marker: &str, limit: Duration) -> Vec<i32> {
    let until = Instant::now() + limit;
    loop {
        let left = processes_with(marker);
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line contains `marker`, this one excepted.
fn processes_with(marker: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_string_lossy().parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let named = String::from_utf8_lossy(&line).contains(marker);
            (pid != own && named).then_some(pid)
        })
        .collect()
}

/// Sends a signal; a process that is gone by now is no error.
fn signal(pid: i32, number: i32) {
    // SAFETY: kill takes no memory.
    unsafe { libc::kill(pid, number) };
}
