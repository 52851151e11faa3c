//! Reusable byte buffers aligned for `f32`, and buffers that messages land in piece by piece.

use std::cell::UnsafeCell;
use std::sync::Arc;

/// A byte buffer whose memory is aligned for `f32` access.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buffer {
    words: Vec<u64>,
    bytes: usize,
}

impl Buffer {
    /// A zeroed buffer of `bytes` bytes. Its pages are touched here, not at first use.
    pub fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(bytes);
        buffer
    }

    /// Sets the length; keeps the allocation when it is large enough. The content is unspecified.
    pub fn resize(&mut self, bytes: usize) {
        self.words.resize(bytes.div_ceil(8), 0);
        self.bytes = bytes;
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    /// The content, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }

    /// The content as `f32`s, writable.
    pub fn f32s_mut(&mut self) -> &mut [f32] {
        let whole = self.bytes / 4 * 4;
        bytemuck::cast_slice_mut(&mut self.bytes_mut()[..whole])
    }

    /// The content as `f32`s; a trailing partial value is left out.
    pub fn f32s(&self) -> &[f32] {
        bytemuck::cast_slice(&self.bytes()[..self.bytes / 4 * 4])
    }
}

/// The model's parameters as they are sent: d `f32`s, little-endian like every machine we run on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(pub Vec<f32>);

impl AsRef<[u8]> for Parameters {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A [`Buffer`] that MPI is writing into, possibly through several receives at once.
///
/// Every receive in flight holds a clone. The bytes can be read only after [`Landing::finish`],
/// which succeeds for the last handle alone: that is what makes the shared writes sound.
#[derive(Clone)]
pub(crate) struct Landing(Arc<Cell>);

struct Cell {
    buffer: UnsafeCell<Buffer>,
    base: *mut u8,
    bytes: usize,
}

// SAFETY: the memory behind `base` is written only by MPI, through receives of disjoint ranges,
// and read only once the last handle has been turned back into the owned `Buffer`.
unsafe impl Send for Cell {}
// SAFETY: as above; no method of a shared `Cell` reads or writes the buffer.
unsafe impl Sync for Cell {}

impl Landing {
    /// Starts receiving into `buffer`.
    pub fn new(mut buffer: Buffer) -> Self {
        let (base, bytes) = (buffer.bytes_mut().as_mut_ptr(), buffer.bytes);
        Self(Arc::new(Cell {
            buffer: UnsafeCell::new(buffer),
            base,
            bytes,
        }))
    }

    /// Where `range` begins in memory; `None` when it does not fit the buffer.
    pub fn at(&self, offset: usize, bytes: usize) -> Option<*mut u8> {
        (offset.checked_add(bytes)? <= self.0.bytes).then(|| self.0.base.wrapping_add(offset))
    }

    /// The filled buffer, or the landing itself while a receive still holds it.
    pub fn finish(self) -> Result<Buffer, Self> {
        Arc::try_unwrap(self.0)
            .map(|cell| cell.buffer.into_inner())
            .map_err(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_landing_is_readable_only_when_nobody_writes() {
        let landing = Landing::new(Buffer::zeroed(10));
        let receive = landing.clone();
        assert!(landing.at(8, 3).is_none() && landing.at(usize::MAX, 2).is_none());
        // SAFETY: one byte inside the buffer, no other access.
        unsafe { *receive.at(9, 1).expect("in range") = 7 };
        let landing = landing.finish().expect_err("a receive holds it");
        drop(receive);
        let buffer = landing.finish().unwrap_or_else(|_| panic!("last handle"));
        assert_eq!(buffer.bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(buffer.f32s().len(), 2);
    }
}
