//! Choosing where to compute, and loading CUDA only where it is wanted.
//!
//! Binaries link libtorch's CPU libraries alone: the CUDA ones take gigabytes of address space and
//! seconds to load, in every rank, GPU or not. [`load_cuda`] opens them at run time, before
//! libtorch is first asked about CUDA; it finds them beside the CPU library.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tch::{Cuda, Device};

use crate::error::TorchError;

/// The device of a configuration's `device` key, for the `local_rank`-th process of this node.
///
/// * `cpu`: the CPU;
/// * `auto`: GPU number `local_rank` modulo their count where a GPU is usable, else the CPU;
/// * `cuda`: the same, but without a usable GPU it is an error;
/// * `cuda:N`: GPU number N.
///
/// # Errors
/// [`TorchError::Device`] for any other text, or when the GPU cannot be used.
pub fn device(spec: &str, local_rank: usize) -> Result<Device, TorchError> {
    let error = |reason: String| TorchError::Device {
        device: spec.to_owned(),
        reason,
    };
    let shared = |count: usize| Device::Cuda(local_rank % count.max(1));
    match spec {
        "cpu" => Ok(Device::Cpu),
        "auto" if !driver_present() => Ok(Device::Cpu),
        "auto" => Ok(gpus().map_or(Device::Cpu, shared)),
        "cuda" => gpus().map(shared).map_err(error),
        _ => {
            let number: usize = spec
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| error("expected auto, cpu, cuda or cuda:N".into()))?;
            let count = gpus().map_err(error)?;
            if number < count {
                Ok(Device::Cuda(number))
            } else {
                Err(error(format!("this machine has GPUs 0 to {}", count - 1)))
            }
        }
    }
}

/// The number of usable GPUs, at least 1, or why there is none.
fn gpus() -> Result<usize, String> {
    load_cuda()?;
    match usize::try_from(Cuda::device_count()) {
        Ok(count) if count > 0 && Cuda::is_available() => Ok(count),
        _ => Err("libtorch sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES".into()),
    }
}

/// Whether an NVIDIA driver is loaded on this machine.
pub fn driver_present() -> bool {
    ["/proc/driver/nvidia/version", "/dev/nvidiactl"]
        .iter()
        .any(|path| Path::new(path).exists())
}

/// Loads libtorch's CUDA libraries into this process, once. Call it before anything asks libtorch
/// about CUDA: libtorch looks for its CUDA half once and remembers the answer. [`device`] does.
///
/// # Errors
/// The reason, e.g. that this libtorch was built without CUDA; the same at every call.
pub fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            let directory = library_directory()
                .ok_or("libtorch_cpu.so is not among this process's libraries")?;
            let path = directory.join("libtorch_cuda.so");
            if !path.exists() {
                return Err(format!(
                    "{} does not exist: this libtorch has no CUDA support",
                    path.display()
                ));
            }
            open_library(&path)
        })
        .clone()
}

/// The directory libtorch was loaded from.
fn library_directory() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find_map(|line| {
        let path = Path::new(line.get(line.find('/')?..)?);
        (path.file_name()? == "libtorch_cpu.so").then(|| path.to_owned())
    })?;
    library.parent().map(Path::to_owned)
}

fn open_library(path: &Path) -> Result<(), String> {
    use std::os::unix::ffi::OsStrExt;
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: `name` is a valid C string. The library's initializers only register CUDA kernels
    // with libtorch; it is never closed, so nothing of it is left dangling.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen, dlerror returns a C string that stays valid until the next
    // dl call of this thread, or null.
    let message = unsafe {
        let message = libc::dlerror();
        (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned())
    };
    Err(message.unwrap_or_else(|| format!("dlopen {} failed", path.display())))
}

/// Waits until `device` has done what it was asked to; a CPU always has.
pub(crate) fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// A device as configurations write it: `cpu`, `cuda:0`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".into(),
        Device::Vulkan => "vulkan".into(),
    }
}

/// What was built against and what is there, for the log and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// libtorch's version as its files state it, e.g. `2.11.0+cu130`.
    pub libtorch: String,
    /// Where it was loaded from.
    pub directory: Option<PathBuf>,
    /// Whether an NVIDIA driver is loaded.
    pub driver: bool,
    /// Usable GPUs; 0 as long as [`load_cuda`] was not called.
    pub gpus: usize,
    /// Whether libtorch was built with OpenMP, and with oneDNN for convolutions.
    pub openmp: bool,
    /// See `openmp`.
    pub onednn: bool,
}

/// Versions and abilities of this process's libtorch. Asks about GPUs only if a driver is loaded.
pub fn versions() -> Versions {
    let driver = driver_present();
    Versions {
        libtorch: option_env!("GRADCODE_LIBTORCH_VERSION")
            .unwrap_or("unknown")
            .to_owned(),
        directory: library_directory(),
        driver,
        gpus: if driver { gpus().unwrap_or(0) } else { 0 },
        openmp: tch::utils::has_openmp(),
        onednn: tch::utils::has_mkldnn(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_texts_are_checked() {
        assert_eq!(device("cpu", 3).unwrap(), Device::Cpu);
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = device(wrong, 0).unwrap_err().to_string();
            assert!(
                error.contains("expected auto, cpu, cuda or cuda:N"),
                "{error}"
            );
        }
    }

    #[test]
    fn without_a_driver_auto_is_the_cpu_and_cuda_says_why() {
        if driver_present() {
            return;
        }
        assert_eq!(device("auto", 0).unwrap(), Device::Cpu);
        assert!(matches!(
            device("cuda:0", 0),
            Err(TorchError::Device { .. })
        ));
    }

    #[test]
    fn libtorch_is_found_among_the_libraries() {
        // Any call that links libtorch in will do.
        assert!(tch::get_num_threads() > 0);
        assert!(
            library_directory()
                .unwrap()
                .join("libtorch_cpu.so")
                .exists()
        );
    }
}
