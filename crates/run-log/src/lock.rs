//! One writer per run directory.
//!
//! HDF5's own locks fail on some network file systems and say nothing about who holds them, so the
//! log has its own: a file beside it, created exclusively, naming the process, its host and its
//! batch job. A lock whose owner is certainly gone is taken over; when that cannot be known (another
//! host, another job) it is an error that names the owner.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::LogError;

/// The batch job a process belongs to, and how often that job was restarted before.
///
/// A scheduler runs one incarnation of a job at a time, so a lock of an earlier incarnation is stale
/// wherever it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobId {
    /// Job id, empty outside a batch job.
    pub id: String,
    /// Times the job was requeued.
    pub restarts: u64,
}

impl JobId {
    /// From Slurm's environment (`SLURM_JOB_ID`, `SLURM_RESTART_COUNT`).
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self {
            id: variable("SLURM_JOB_ID"),
            restarts: variable("SLURM_RESTART_COUNT").parse().unwrap_or(0),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Start time of the process in clock ticks after boot; tells a reused pid.
    start: u64,
    host: String,
    job: JobId,
}

impl Owner {
    fn current(job: JobId) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start: process_start(pid).unwrap_or(0),
            host: host_name(),
            job,
        }
    }

    fn to_text(&self) -> String {
        let Self {
            pid,
            start,
            host,
            job: JobId { id, restarts },
        } = self;
        format!("pid = {pid}\nstart = {start}\nhost = {host}\njob = {id}\nrestarts = {restarts}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.split_once(" =").filter(|(k, _)| *k == key))
                .map(|(_, v)| v.trim().to_owned())
        };
        Some(Self {
            pid: value("pid")?.parse().ok()?,
            start: value("start")?.parse().ok()?,
            host: value("host")?,
            job: JobId {
                id: value("job")?,
                restarts: value("restarts")?.parse().ok()?,
            },
        })
    }

    /// Whether this owner is certainly gone, seen from `here`.
    fn is_gone(&self, here: &Self) -> bool {
        if !self.job.id.is_empty()
            && self.job.id == here.job.id
            && self.job.restarts < here.job.restarts
        {
            return true;
        }
        self.host == here.host
            && match process_start(self.pid) {
                Some(start) => start != self.start && self.start != 0,
                None => !process_exists(self.pid),
            }
    }

    fn describe(&self) -> String {
        let Self { pid, host, job, .. } = self;
        let job = if job.id.is_empty() {
            String::new()
        } else {
            format!(" (job {})", job.id)
        };
        format!("process {pid} on {host}{job}")
    }
}

/// Who writes to a log, as far as its lock tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Nobody: there is no lock.
    Nobody,
    /// A process that is certainly gone.
    Gone(String),
    /// A process that lives, or might on another host.
    Alive(String),
}

impl Writer {
    /// Reads the lock beside the log at `path`.
    pub fn of(path: &Path) -> Self {
        let Ok(text) = fs::read_to_string(beside(path)) else {
            return Self::Nobody;
        };
        match Owner::parse(&text) {
            Some(owner) if owner.is_gone(&Owner::current(JobId::from_environment())) => {
                Self::Gone(owner.describe())
            }
            Some(owner) => Self::Alive(owner.describe()),
            None => Self::Alive("an unknown process".to_owned()),
        }
    }
}

/// The lock of the log at `path`.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// A held lock; dropping it removes the file.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    text: String,
}

impl LockFile {
    /// Takes the lock at `path`, replacing one whose owner is gone.
    ///
    /// # Errors
    /// [`LogError::Locked`] if someone holds it or might; [`LogError::Io`] if it cannot be written.
    pub fn acquire(path: &Path, job: JobId) -> Result<Self, LogError> {
        let here = Owner::current(job);
        let io = |source| LogError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        };
        // Each turn either ends or meets a lock that changed meanwhile; two turns are the normal worst case.
        for _ in 0..8 {
            match Self::create(path, here.to_text()) {
                Ok(lock) => return Ok(lock),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io(error)),
            }
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io(error)),
            };
            match Owner::parse(&text) {
                Some(owner) if owner.is_gone(&here) => {
                    Self::evict(path, &text, here.pid).map_err(io)?
                }
                owner => {
                    let holder = owner
                        .map_or_else(|| "an unknown process".to_owned(), |owner| owner.describe());
                    return Err(LogError::Locked {
                        path: path.to_owned(),
                        holder,
                    });
                }
            }
        }
        Err(LogError::Locked {
            path: path.to_owned(),
            holder: "another process".to_owned(),
        })
    }

    /// The lock appears under its name complete or not at all, so nobody reads half an owner.
    fn create(path: &Path, text: String) -> io::Result<Self> {
        let draft = draft_name(path, "new", std::process::id());
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            fs::hard_link(&draft, path)
        })();
        let _ = fs::remove_file(&draft);
        match written {
            // File systems without hard links: exclusive creation, with a moment in which the file is empty.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS)
                ) =>
            {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(path)?
                    .write_all(text.as_bytes())?;
            }
            other => other?,
        }
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Moves a stale lock out of the way. If it was replaced since it was read, it is put back.
    fn evict(path: &Path, stale: &str, pid: u32) -> io::Result<()> {
        let aside = draft_name(path, "stale", pid);
        match fs::rename(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        if fs::read_to_string(&aside)? != stale {
            // Fails if a third process took the lock in between; then the second one has lost it, and
            // finds out by `still_held`.
            let _ = fs::hard_link(&aside, path);
        }
        fs::remove_file(&aside)
    }

    /// Whether the file still names this process; false after someone removed it by hand.
    pub fn still_held(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.still_held() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn draft_name(path: &Path, what: &str, pid: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{what}.{pid}"));
    name.into()
}

/// Field 22 of `/proc/PID/stat`: when the process started. None if there is no such process, or no `/proc`.
fn process_start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, in parentheses, may hold anything; fields are counted after it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    // A zombie holds nothing any more.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn process_exists(pid: u32) -> bool {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'));
    }
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 is sent to nobody; the call only reports whether the process exists.
    let result = unsafe { libc::kill(pid, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

fn host_name() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the length passed is one less than the buffer's, which stays zero-terminated.
    let result = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    if result != 0 {
        return "unknown".to_owned();
    }
    let end = buffer
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(pid: u32, host: &str, job: &str, restarts: u64) -> Owner {
        Owner {
            pid,
            start: process_start(pid).unwrap_or(1),
            host: host.into(),
            job: JobId {
                id: job.into(),
                restarts,
            },
        }
    }

    #[test]
    fn readers_learn_whether_the_writer_lives() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("run.h5");
        assert_eq!(Writer::of(&log), Writer::Nobody);
        let held = LockFile::acquire(&beside(&log), JobId::default()).unwrap();
        assert!(matches!(Writer::of(&log), Writer::Alive(_)));
        drop(held);
        // No process has this number.
        let dead = owner(u32::MAX / 2, &host_name(), "", 0).to_text();
        fs::write(beside(&log), dead).unwrap();
        assert!(matches!(Writer::of(&log), Writer::Gone(_)));
        let elsewhere = owner(u32::MAX / 2, "another-host", "", 0).to_text();
        fs::write(beside(&log), elsewhere).unwrap();
        assert!(matches!(Writer::of(&log), Writer::Alive(_)));
    }

    #[test]
    fn a_second_writer_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.h5.lock");
        let held = LockFile::acquire(
            &path,
            JobId {
                id: "77".into(),
                restarts: 0,
            },
        )
        .unwrap();
        let error = LockFile::acquire(&path, JobId::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("process {} on ", std::process::id())),
            "{error}"
        );
        assert!(error.contains("(job 77)"), "{error}");
        assert!(held.still_held());
        drop(held);
        assert!(!path.exists());
        LockFile::acquire(&path, JobId::default()).unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "no draft is left behind"
        );
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.h5.lock");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = Owner {
            start: 1,
            ..owner(child.id(), &host_name(), "", 0)
        };
        fs::write(&path, dead.to_text()).unwrap();
        assert!(
            LockFile::acquire(&path, JobId::default())
                .unwrap()
                .still_held()
        );
    }

    #[test]
    fn a_reused_pid_is_not_mistaken_for_the_owner() {
        let here = Owner::current(JobId::default());
        let before = Owner {
            start: here.start - 1,
            ..here.clone()
        };
        assert!(before.is_gone(&here));
        assert!(!here.is_gone(&here));
    }

    #[test]
    fn another_host_is_believed_alive_unless_its_job_was_restarted() {
        let here = owner(std::process::id(), "b", "12", 1);
        assert!(
            !owner(1 << 21, "a", "12", 1).is_gone(&here),
            "another step of the same job"
        );
        assert!(
            owner(1 << 21, "a", "12", 0).is_gone(&here),
            "an earlier incarnation of this job"
        );
        assert!(!owner(1 << 21, "a", "11", 0).is_gone(&here), "another job");
        assert!(
            !owner(1 << 21, "a", "", 0).is_gone(&owner(1, "b", "", 1)),
            "no job at all"
        );
    }

    #[test]
    fn an_unreadable_lock_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.h5.lock");
        fs::write(&path, "").unwrap();
        let error = LockFile::acquire(&path, JobId::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("an unknown process"), "{error}");
    }

    #[test]
    fn owners_survive_the_round_trip() {
        for owner in [owner(3, "node 1 = x", "", 0), owner(4, "n", "5_7", 9)] {
            assert_eq!(Owner::parse(&owner.to_text()), Some(owner));
        }
    }
}
