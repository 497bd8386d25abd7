//! Memory for the results of products: up to hundreds of megabytes, soon freed, and soon wanted again.

#![allow(
    unsafe_code,
    reason = "what allocates hands out memory that nothing was written to; here it is written to first"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    mem::MaybeUninit,
    ptr, slice,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rayon::prelude::*;

/// Smaller blocks are left to the system's allocator, which keeps them itself, and gain nothing from huge pages.
const MIN_LARGE_BYTES: usize = 4 << 20;
/// The system's allocator aligns everything so.
const MAX_ALIGN: usize = 16;
/// How many freed blocks are kept at most.
const MAX_KEPT: usize = 32;

/// An allocator for programs that read on a CPU: the system's, but that freed large blocks can be [kept](keep_freed) for the
/// next of their size. Otherwise the system takes each back and clears all its pages when it is wanted again, which took a
/// twentieth of a page's time. A program chooses its allocator, not a library: `omnidocs` has this one.
#[derive(Debug)]
pub struct Keeping;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Keeping = Keeping;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    limit: 0,
    bytes: 0,
    count: 0,
    blocks: [(0, 0); MAX_KEPT],
});

/// Freed blocks, the oldest first.
struct Kept {
    /// How many bytes of them are kept at most.
    limit: usize,
    bytes: usize,
    count: usize,
    /// Where each is, and its size.
    blocks: [(usize, usize); MAX_KEPT],
}

impl Kept {
    fn lock() -> MutexGuard<'static, Self> {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest block of this size.
    fn take(&mut self, size: usize) -> Option<*mut u8> {
        let blocks = &self.blocks[..self.count];
        let index = blocks.iter().rposition(|block| block.1 == size)?;
        Some(self.remove(index).0)
    }

    fn remove(&mut self, index: usize) -> (*mut u8, usize) {
        let (place, size) = self.blocks[index];
        self.blocks.copy_within(index + 1..self.count, index);
        self.count -= 1;
        self.bytes -= size;
        (ptr::with_exposed_provenance_mut(place), size)
    }

    /// Keeps a block if it may be.
    fn put(&mut self, block: *mut u8, size: usize) -> bool {
        let fits = self.bytes + size <= self.limit && self.count < MAX_KEPT;
        if fits {
            self.blocks[self.count] = (block.expose_provenance(), size);
            self.count += 1;
            self.bytes += size;
        }
        fits
    }
}

/// Keeps freed large blocks of up to so many bytes together from now on, where [`Keeping`] is the program's allocator.
pub fn keep_freed(bytes: usize) {
    Kept::lock().limit = bytes;
}

/// What the system is asked for in place of a large `layout`: an eighth more at most, so that blocks of about the same size
/// can replace each other.
fn whole(layout: Layout) -> Option<Layout> {
    if layout.size() < MIN_LARGE_BYTES || layout.align() > MAX_ALIGN {
        return None;
    }
    let step = 1 << (layout.size().ilog2() - 3);
    let size = layout.size().checked_next_multiple_of(step)?;
    Layout::from_size_align(size, MAX_ALIGN).ok()
}

// SAFETY: a block comes from the system's allocator, for its layout or the whole of it, and goes back for the same one. While
// it is kept nothing else has it.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(layout) else {
            return unsafe { System.alloc(layout) };
        };
        let kept = Kept::lock().take(whole.size());
        kept.unwrap_or_else(|| unsafe { System.alloc(whole) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(layout) else {
            return unsafe { System.alloc_zeroed(layout) };
        };
        let kept = Kept::lock().take(whole.size());
        match kept {
            Some(block) => {
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            None => unsafe { System.alloc_zeroed(whole) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(whole) = whole(layout) else {
            return unsafe { System.dealloc(block, layout) };
        };
        let mut kept = Kept::lock();
        while !kept.put(block, whole.size()) {
            // What was not wanted for longest goes.
            if kept.count == 0 {
                drop(kept);
                return unsafe { System.dealloc(block, whole) };
            }
            let (oldest, size) = kept.remove(0);
            unsafe { System.dealloc(oldest, Layout::from_size_align_unchecked(size, MAX_ALIGN)) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        let (from, to) = (
            whole(layout).unwrap_or(layout),
            whole(wanted).unwrap_or(wanted),
        );
        if from == to {
            return block;
        }
        unsafe { System.realloc(block, from, to.size()) }
    }
}

/// `len` zeros. Linux is asked to back many of them by pages of 2 MiB: one page fault then replaces 512.
#[must_use]
pub fn zeroed(len: usize) -> Vec<f32> {
    let mut zeros = vec![0.0; len];
    advise(&mut zeros);
    zeros
}

/// A matrix `(rows, size)`, made of parts of `width` columns: `fill` fills a part that it is told the number of, one piece of
/// each row, of zeros. Threads write to a part of their own only, as its first.
pub fn by_columns(
    rows: usize,
    size: usize,
    width: usize,
    fill: impl Fn(usize, &mut [&mut [f32]]) + Sync,
) -> Vec<f32> {
    let len = rows * size;
    let mut out = Vec::with_capacity(len);
    let room = &mut out.spare_capacity_mut()[..len];
    advise(room);
    columns(room, size, width)
        .into_par_iter()
        .enumerate()
        .for_each(|(number, part)| {
            let mut part: Vec<&mut [f32]> = part.into_iter().map(zero).collect();
            fill(number, &mut part);
        });
    // SAFETY: there was room for so many, and each is in one part, which began as zeros.
    unsafe { out.set_len(len) };
    out
}

fn zero(room: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    room.fill(MaybeUninit::new(0.0));
    // SAFETY: it has been filled.
    unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len()) }
}

/// `out`, `(rows, size)`, as its columns, `width` at a time: the pieces of all rows.
pub fn columns<T>(out: &mut [T], size: usize, width: usize) -> Vec<Vec<&mut [T]>> {
    let mut columns: Vec<Vec<&mut [T]>> = Vec::new();
    columns.resize_with(size.div_ceil(width), Vec::new);
    for row in out.chunks_exact_mut(size) {
        for (column, piece) in columns.iter_mut().zip(row.chunks_mut(width)) {
            column.push(piece);
        }
    }
    columns
}

/// Asks for huge pages.
fn advise<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    if size_of_val(memory) >= MIN_LARGE_BYTES {
        use rustix::mm::{Advice, madvise};
        let page = rustix::param::page_size();
        let start = memory.as_mut_ptr().cast::<u8>();
        let skipped = start.align_offset(page);
        let length = (size_of_val(memory) - skipped) / page * page;
        // SAFETY: the range is that of whole pages within `memory`, and stays as it is.
        let advised = unsafe { madvise(start.add(skipped).cast(), length, Advice::LinuxHugepage) };
        // Without it the program is only slower.
        advised.ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_layouts_of_about_one_size_share_their_blocks() {
        let of = |size| whole(Layout::array::<u8>(size).unwrap()).map(|layout| layout.size());
        assert_eq!(of(MIN_LARGE_BYTES - 1), None);
        assert_eq!(of(MIN_LARGE_BYTES), Some(MIN_LARGE_BYTES));
        assert_eq!(of(9_000_000), of(9_400_000));
        assert!(of(9_000_000) >= Some(9_000_000) && of(9_000_000) < Some(10_000_000));
    }

    #[test]
    fn kept_blocks_are_handed_out_again_and_bounded() {
        let mut kept = Kept {
            limit: 100,
            bytes: 0,
            count: 0,
            blocks: [(0, 0); MAX_KEPT],
        };
        let block = |place| ptr::without_provenance_mut::<u8>(place);
        assert!(kept.put(block(1), 40) && kept.put(block(2), 30) && kept.put(block(3), 30));
        assert!(!kept.put(block(4), 1), "no more than the limit");
        assert_eq!(kept.take(30), Some(block(3)));
        assert_eq!(kept.take(30), Some(block(2)));
        assert_eq!(kept.take(30), None);
        assert_eq!(kept.remove(0), (block(1), 40));
        assert_eq!((kept.count, kept.bytes), (0, 0));
    }

    #[test]
    fn zeros_are_zeros_and_growth_keeps_what_is_there() {
        keep_freed(64 << 20);
        for _ in 0..3 {
            let mut numbers = zeroed(3 << 20);
            assert!(numbers.iter().all(|x| *x == 0.0));
            numbers.fill(1.0);
            numbers.resize(5 << 20, 2.0);
            let (first, grown) = numbers.split_at(3 << 20);
            assert!(first == vec![1.0; first.len()] && grown == vec![2.0; grown.len()]);
        }
    }

    #[test]
    fn columns_are_filled_side_by_side() {
        let out = by_columns(2, 5, 2, |number, part| {
            for (row, piece) in part.iter_mut().enumerate() {
                assert!(piece.iter().all(|x| *x == 0.0));
                piece.fill((10 * row + number) as f32);
            }
        });
        assert_eq!(out, [0., 0., 1., 1., 2., 10., 10., 11., 11., 12.]);
    }
}
