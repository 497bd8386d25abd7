//! Classifies errors of a device: out of memory, or lost.

use candle_core::Error;

/// A fault of the device, not of the page alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// Out of memory. Fewer pixels may fit.
    OutOfMemory,
    /// Lost: nothing that this process does on it works any more.
    Lost,
}

impl DeviceFault {
    /// The names of out-of-memory errors in the driver and its libraries.
    const OUT_OF_MEMORY: [&str; 3] = [
        "OUT_OF_MEMORY",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CURAND_STATUS_ALLOCATION_FAILED",
    ];
    /// The names of errors after which the process must end, by `cuda.h` of CUDA 13.0, and of hardware that fails; and what
    /// cuBLAS says of a product that the device did not finish, with which it hides such an error of the driver.
    const LOST: [&str; 19] = [
        "CUBLAS_STATUS_EXECUTION_FAILED",
        "CUDA_ERROR_ASSERT",
        "CUDA_ERROR_CONTAINED",
        "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        "CUDA_ERROR_EXTERNAL_DEVICE",
        "CUDA_ERROR_HARDWARE_STACK_ERROR",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "CUDA_ERROR_ILLEGAL_INSTRUCTION",
        "CUDA_ERROR_INVALID_ADDRESS_SPACE",
        "CUDA_ERROR_INVALID_PC",
        "CUDA_ERROR_LAUNCH_FAILED",
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        "CUDA_ERROR_MPS_CLIENT_TERMINATED",
        "CUDA_ERROR_NVLINK_UNCORRECTABLE",
        "CUDA_ERROR_TENSOR_MEMORY_LEAK",
        "CUDA_ERROR_UNKNOWN",
    ];

    /// The fault that an error reports; none if the device is well.
    ///
    /// The names in the message decide, since the driver's own types exist in a CUDA build only.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Option<Self> {
        Self::classify(&message(error))
    }

    /// As [`of`](Self::of), by the error's [`message`].
    #[must_use]
    pub fn classify(message: &str) -> Option<Self> {
        let says = |names: &[&str]| names.iter().any(|name| message.contains(name));
        if says(&Self::LOST) {
            Some(Self::Lost)
        } else if says(&Self::OUT_OF_MEMORY) {
            Some(Self::OutOfMemory)
        } else {
            None
        }
    }
}

/// An error and its causes in one line, without the backtraces that Candle takes into its messages where `RUST_BACKTRACE`
/// is set.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    let causes = error.chain().map(|cause| match cause.downcast_ref() {
        Some(error) => without_backtrace(error),
        None => cause.to_string(),
    });
    causes.collect::<Vec<_>>().join(": ")
}

fn without_backtrace(error: &Error) -> String {
    match error {
        Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        Error::Context { inner, context } => format!("{context}: {}", without_backtrace(inner)),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{backtrace::Backtrace, fmt};

    use anyhow::Context;

    use super::*;

    /// Displays the text of an error of the driver or of one of its libraries.
    #[derive(Debug)]
    struct Says(&'static str);

    impl fmt::Display for Says {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Says {}

    /// Such an error as it arrives from a forward pass.
    fn arrives(said: &'static str) -> anyhow::Error {
        let error = Error::WithBacktrace {
            inner: Box::new(Error::Cuda(Box::new(Says(said)))),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        Err::<(), _>(error.context("softmax"))
            .context("vision tower")
            .unwrap_err()
    }

    fn fault(error: &anyhow::Error) -> Option<DeviceFault> {
        DeviceFault::of(error)
    }

    #[test]
    fn fault_message_is_one_line_with_all_causes() {
        let error = arrives("DriverError(CUDA_ERROR_NOT_READY, \"not ready\")");
        assert_eq!(
            message(&error),
            "vision tower: softmax: DriverError(CUDA_ERROR_NOT_READY, \"not ready\")"
        );
    }

    #[test]
    fn classify_tells_out_of_memory_from_lost_device() {
        for (said, wanted) in [
            (
                "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
                Some(DeviceFault::OutOfMemory),
            ),
            (
                "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\") when loading reduce",
                Some(DeviceFault::OutOfMemory),
            ),
            (
                "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
                Some(DeviceFault::OutOfMemory),
            ),
            (
                "CurandError(CURAND_STATUS_ALLOCATION_FAILED)",
                Some(DeviceFault::OutOfMemory),
            ),
            (
                "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")",
                Some(DeviceFault::Lost),
            ),
            (
                "DriverError(CUDA_ERROR_ECC_UNCORRECTABLE, \"uncorrectable ECC error encountered\")",
                Some(DeviceFault::Lost),
            ),
            // Errors without a name.
            (
                "DriverError(CUDA_ERROR_LAUNCH_FAILED, \"<Failure when calling cuGetErrorString()>\")",
                Some(DeviceFault::Lost),
            ),
            (
                "DriverError(CUDA_ERROR_INVALID_VALUE, \"invalid argument\")",
                None,
            ),
            (
                "CublasError(CUBLAS_STATUS_EXECUTION_FAILED)",
                Some(DeviceFault::Lost),
            ),
            ("CublasError(CUBLAS_STATUS_NOT_SUPPORTED)", None),
            ("missing kernel 'rope'", None),
        ] {
            assert_eq!(fault(&arrives(said)), wanted, "{said}");
        }
    }

    /// With the real types.
    #[cfg(feature = "cuda")]
    #[test]
    fn fault_names_match_the_driver_and_its_libraries() {
        use candle_core::cuda_backend::{CudaError, cudarc};
        use cudarc::{
            cublas::{result::CublasError, sys::cublasStatus_t},
            curand::{result::CurandError, sys::curandStatus_t},
            driver::{DriverError, sys::CUresult},
        };

        let driver = |code| CudaError::from(DriverError(code));
        for (error, wanted) in [
            (
                driver(CUresult::CUDA_ERROR_OUT_OF_MEMORY),
                Some(DeviceFault::OutOfMemory),
            ),
            (
                CublasError(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED).into(),
                Some(DeviceFault::OutOfMemory),
            ),
            (
                CublasError(cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED).into(),
                Some(DeviceFault::Lost),
            ),
            (
                CurandError(curandStatus_t::CURAND_STATUS_ALLOCATION_FAILED).into(),
                Some(DeviceFault::OutOfMemory),
            ),
            (
                driver(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS),
                Some(DeviceFault::Lost),
            ),
            (
                driver(CUresult::CUDA_ERROR_ECC_UNCORRECTABLE),
                Some(DeviceFault::Lost),
            ),
            (
                driver(CUresult::CUDA_ERROR_UNKNOWN),
                Some(DeviceFault::Lost),
            ),
            (driver(CUresult::CUDA_ERROR_NO_DEVICE), None),
        ] {
            let error = anyhow::Error::from(Error::from(error));
            assert_eq!(fault(&error), wanted, "{error}");
        }
    }
}
