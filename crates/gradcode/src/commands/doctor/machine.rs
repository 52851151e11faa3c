//! What `doctor` looks at.

use std::process::Command;

use serde_json::json;

use super::{Finding, State};

/// Every finding, in the order of the report. Nothing here initialises MPI.
pub fn examine() -> Vec<Finding> {
    vec![
        program(),
        host(),
        mpi_library(),
        launcher(),
        libtorch(),
        gpus(),
        hdf5(),
        cpus(),
        threads(),
        wait_policy(),
        simd(),
        memory(),
        locked_memory(),
        stack(),
        open_files(),
    ]
}

fn program() -> Finding {
    Finding::ok("gradcode", env!("CARGO_PKG_VERSION"))
}

fn host() -> Finding {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Finding::ok("host", name.trim())
}

fn mpi_library() -> Finding {
    let library = mpi::environment::library_version().unwrap_or_default();
    let (version, subversion) = mpi::environment::version();
    let first = library
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('\0')
        .trim();
    let name = first.split(',').next().unwrap_or(first);
    Finding::ok(
        "mpi_library",
        format!("{name} (MPI {version}.{subversion})"),
    )
    .value(json!({ "library": first, "standard": format!("{version}.{subversion}") }))
    .unless(
        (version, subversion) >= (3, 1),
        State::Fail,
        "gradcode needs MPI 3.1",
    )
}

/// The launcher must be the library's: Open MPI 4 and 5 even share a soname.
fn launcher() -> Finding {
    let version = Command::new("mpirun").arg("--version").output();
    let first = match &version {
        Ok(output) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
        Err(_) => String::new(),
    };
    let library = mpi::environment::library_version().unwrap_or_default();
    let both_open = first.contains("Open MPI") == library.contains("Open MPI");
    if first.is_empty() {
        return Finding::ok("mpirun", "not found").unless(
            false,
            State::Warn,
            "`train` needs mpirun or srun in PATH; without, `simulate` still works",
        );
    }
    Finding::ok("mpirun", first).unless(
        both_open,
        State::Fail,
        "mpirun and the MPI library are of different makes; ranks would each start alone",
    )
}

fn libtorch() -> Finding {
    let versions = torch_models::versions();
    let directory = versions
        .directory
        .as_ref()
        .map(|path| path.display().to_string());
    let place = directory.clone().unwrap_or_else(|| "not loaded".into());
    Finding::ok("libtorch", format!("{} in {place}", versions.libtorch))
        .value(json!({
            "version": versions.libtorch,
            "directory": directory,
            "openmp": versions.openmp,
            "onednn": versions.onednn,
        }))
        .unless(
            versions.openmp && versions.onednn,
            State::Warn,
            "this libtorch lacks OpenMP or oneDNN: convolutions on the CPU will be slow",
        )
}

fn gpus() -> Finding {
    let driver = torch_models::driver_present();
    if !driver {
        return Finding::ok("gpus", "no NVIDIA driver; device = \"auto\" takes the CPU")
            .value(json!(0));
    }
    let (count, text) = match torch_models::load_cuda() {
        Ok(()) => {
            let count = torch_models::versions().gpus;
            (count, format!("{count} usable"))
        }
        Err(reason) => (0, reason),
    };
    Finding::ok("gpus", text).value(json!(count)).unless(
        count > 0,
        State::Warn,
        "there is a driver but no usable GPU: check nvidia-smi, CUDA_VISIBLE_DEVICES and libtorch's CUDA build",
    )
}

fn hdf5() -> Finding {
    let (major, minor, patch) = hdf5::library_version();
    Finding::ok("hdf5", format!("{major}.{minor}.{patch}"))
}

/// CPUs this process may run on, which mpirun's binding may have narrowed.
fn cpus() -> Finding {
    let allowed = allowed_cpus();
    let all = online_cpus();
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let quota = if usable < allowed {
        format!(", {usable} by quota")
    } else {
        String::new()
    };
    Finding::ok("cpus", format!("{allowed} of {all} allowed{quota}"))
        .value(json!({ "online": all, "allowed": allowed, "usable": usable }))
        .unless(
            allowed == all || under_launcher().is_none(),
            State::Warn,
            "this process is bound to some cores; threads pile up there: mpirun --bind-to none, or --map-by slot:PE=n --bind-to core",
        )
}

fn threads() -> Finding {
    let omp = std::env::var("OMP_NUM_THREADS").ok();
    let count = omp.as_ref().and_then(|text| text.parse::<usize>().ok());
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let ranks = under_launcher();
    // Unset is fine: `compute.threads` decides. Too many spin against each other.
    let fits = count.is_none_or(|count| count * ranks.unwrap_or(1) <= usable.max(count));
    Finding::ok("omp_num_threads", omp.unwrap_or_else(|| "not set; compute.threads decides".into())).unless(
        fits,
        State::Warn,
        "ranks x threads exceed the cores: steps become many times slower; export OMP_NUM_THREADS=1",
    )
}

fn wait_policy() -> Finding {
    let policy = std::env::var("OMP_WAIT_POLICY").ok();
    let passive = policy
        .as_deref()
        .is_some_and(|policy| policy.eq_ignore_ascii_case("passive"));
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let crowded = under_launcher().is_some_and(|ranks| ranks > usable);
    Finding::ok(
        "omp_wait_policy",
        policy.unwrap_or_else(|| "not set".into()),
    )
    .unless(
        passive || !crowded,
        State::Warn,
        "more ranks than cores: export OMP_WAIT_POLICY=passive",
    )
}

fn simd() -> Finding {
    let mut features: Vec<&str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for (name, present) in [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("aes", is_x86_feature_detected!("aes")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vbmi", is_x86_feature_detected!("avx512vbmi")),
    ] {
        if present {
            features.push(name);
        }
    }
    let architecture = std::env::consts::ARCH;
    let slow = architecture == "x86_64" && !features.contains(&"avx2");
    Finding::ok("simd", format!("{architecture} {}", features.join(" ")))
        .value(json!({ "architecture": architecture, "features": features }))
        .unless(
            !slow,
            State::Warn,
            "no AVX2: encoding and decoding will be slow",
        )
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| -> u64 {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(key)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    };
    let (total, available) = (kib("MemTotal:") * 1024, kib("MemAvailable:") * 1024);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Finding::ok(
        "memory",
        format!("{:.1} of {:.1} GiB available", gib(available), gib(total)),
    )
    .value(json!({ "total_bytes": total, "available_bytes": available }))
    .unless(
        gib(available) >= 2.0,
        State::Warn,
        "a rank takes 0.3 to 1 GiB; several will not fit",
    )
}

fn locked_memory() -> Finding {
    limit(
        "locked_memory",
        libc::RLIMIT_MEMLOCK,
        64 << 20,
        "InfiniBand needs it unlimited: ulimit -l unlimited",
    )
    .unless_only_if(has_infiniband())
}

fn stack() -> Finding {
    limit(
        "stack",
        libc::RLIMIT_STACK,
        8 << 20,
        "ulimit -s 8192 or more",
    )
}

fn open_files() -> Finding {
    limit(
        "open_files",
        libc::RLIMIT_NOFILE,
        1024,
        "ulimit -n 4096 or more: MPI and data need many",
    )
}

impl Finding {
    /// Drops the warning where it does not matter.
    fn unless_only_if(self, matters: bool) -> Self {
        if matters {
            self
        } else {
            Finding {
                state: State::Ok,
                hint: None,
                ..self
            }
        }
    }
}

fn has_infiniband() -> bool {
    std::fs::read_dir("/sys/class/infiniband").is_ok_and(|mut entries| entries.next().is_some())
}

/// A soft resource limit and whether it suffices.
fn limit(
    key: &'static str,
    resource: libc::__rlimit_resource_t,
    least: u64,
    hint: &'static str,
) -> Finding {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that getrlimit fills; on failure it stays as it was.
    let known = unsafe { libc::getrlimit(resource, &mut limit) } == 0;
    let soft = limit.rlim_cur;
    if !known {
        return Finding::ok(key, "unknown").value(json!(null));
    }
    if soft == libc::RLIM_INFINITY {
        return Finding::ok(key, "unlimited").value(json!("unlimited"));
    }
    let text = if key == "open_files" {
        soft.to_string()
    } else {
        format!("{} KiB", soft / 1024)
    };
    Finding::ok(key, text)
        .value(json!(soft))
        .unless(soft >= least, State::Warn, hint)
}

/// CPUs in this process's affinity mask.
fn allowed_cpus() -> usize {
    // SAFETY: an all-zero cpu_set_t is an empty set; sched_getaffinity fills at most its size, and
    // CPU_COUNT only reads it. On failure the set stays empty.
    let count = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let rc = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        if rc == 0 { libc::CPU_COUNT(&set) } else { 0 }
    };
    usize::try_from(count).unwrap_or(0).max(1)
}

fn online_cpus() -> usize {
    // SAFETY: sysconf reads no memory of ours.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1)
}

/// How many ranks were started on this node, if this runs under a launcher that says so.
fn under_launcher() -> Option<usize> {
    [
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "MPI_LOCALNRANKS",
        "SLURM_NTASKS_PER_NODE",
    ]
    .iter()
    .find_map(|name| std::env::var(name).ok()?.parse().ok())
}
