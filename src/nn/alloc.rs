//! Memory for the results of a page's products, which are up to hundreds of megabytes and live for a moment.

// `madvise` is unsafe because some advice changes what is in the memory. This one doesn't.
#![allow(unsafe_code)]

/// What is not a few large pages long gains nothing from them.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// `len` zeros. Where there are many, Linux is asked for pages of 2 MiB: it then stops once for each of them as they are
/// first written to, and not 512 times.
pub fn zeros(len: usize) -> Vec<f32> {
    let zeros = vec![0.0; len];
    #[cfg(target_os = "linux")]
    if size_of_val(&*zeros) >= LARGE {
        use rustix::mm::{Advice, madvise};
        let page = rustix::param::page_size();
        let start = zeros.as_ptr().cast_mut().cast::<u8>();
        let skipped = start.align_offset(page);
        let length = (size_of_val(&*zeros) - skipped) / page * page;
        // SAFETY: the range is that of whole pages within `zeros`, and stays as it is.
        let advised = unsafe { madvise(start.add(skipped).cast(), length, Advice::LinuxHugepage) };
        // It would only have been faster.
        advised.ok();
    }
    zeros
}
