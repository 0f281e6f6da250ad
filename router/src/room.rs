//! Memory for what is made of bodies: values and texts of JSON, which are much larger than what came.
//!
//! There is so much of it for all requests together. Who finds none is refused, and says why, where otherwise the whole
//! router would be ended for want of memory.

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The memory of a container that has no limit, as far as is known.
const MEMORY: usize = 256 << 20;

/// Where a container finds its limit.
const LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// Bytes that a text takes at first.
const SMALLEST: usize = 512;

/// Half of the memory is for what is made of bodies.
static ALL: LazyLock<Rooms> = LazyLock::new(|| {
    let limit = std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok());
    Rooms::new(limit.unwrap_or(MEMORY) / 2)
});

/// Why there is no memory for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error("it is too large to be read: as JSON it takes more than {most} MiB of memory")]
    TooLarge { most: usize },
    #[error("too much is read at once, so there is no memory to read it; try again")]
    Taken,
}

/// Memory that is shared out.
#[derive(Debug)]
pub struct Rooms {
    taken: AtomicUsize,
    all: usize,
}

/// A part of it; it is free again when this is dropped.
#[derive(Debug)]
pub struct Room {
    of: &'static Rooms,
    bytes: usize,
}

impl Rooms {
    /// So many bytes.
    pub const fn new(all: usize) -> Self {
        Self { taken: AtomicUsize::new(0), all }
    }

    /// Takes some.
    ///
    /// # Errors
    /// It is more than half of all, or more than is free.
    pub fn take(&'static self, bytes: usize) -> Result<Room, NoRoom> {
        let mut room = Room { of: self, bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }
}

impl Room {
    /// Takes some of the router's.
    ///
    /// # Errors
    /// It is more than half of all, or more than is free.
    pub fn take(bytes: usize) -> Result<Self, NoRoom> {
        ALL.take(bytes)
    }

    /// Takes more.
    ///
    /// # Errors
    /// As above.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        // One body alone leaves room for others.
        let most = self.of.all / 2;
        if self.bytes.saturating_add(bytes) > most {
            return Err(NoRoom::TooLarge { most: most >> 20 });
        }
        let more = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= self.of.all);
        self.of.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| NoRoom::Taken)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A text that is written as long as there is memory for it.
#[derive(Debug)]
pub struct Writer {
    text: Vec<u8>,
    room: Room,
    refused: Option<NoRoom>,
}

impl Writer {
    /// An empty text.
    ///
    /// # Errors
    /// No memory is free at all.
    pub fn new() -> Result<Self, NoRoom> {
        Ok(Self { text: Vec::new(), room: Room::take(SMALLEST)?, refused: None })
    }

    /// Gives the text, with the memory that it takes.
    ///
    /// # Errors
    /// There was not enough for all of it.
    pub fn end(self) -> Result<(Bytes, Room), NoRoom> {
        self.refused.map_or_else(|| Ok((Bytes::from(self.text), self.room)), Err)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let (length, needed) = (self.text.len(), self.text.len() + bytes.len());
        if needed > self.text.capacity() {
            let more = needed.max(length * 2).max(SMALLEST) - length;
            self.room.grow(more).map_err(|refused| {
                self.refused = Some(refused);
                std::io::Error::from(std::io::ErrorKind::OutOfMemory)
            })?;
            self.text.reserve_exact(more);
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_free_again_and_nobody_takes_more_than_half() {
        static ROOMS: Rooms = Rooms::new(4 << 20);
        let mut one = ROOMS.take(1 << 20).expect("free");
        one.grow(1 << 20).expect("a half");
        assert_eq!(one.grow(1), Err(NoRoom::TooLarge { most: 2 }));
        assert_eq!(ROOMS.take(usize::MAX).map(drop), Err(NoRoom::TooLarge { most: 2 }));
        let two = ROOMS.take(2 << 20).expect("the other half");
        assert_eq!(ROOMS.take(1).map(drop), Err(NoRoom::Taken));
        drop((one, two));
        assert_eq!(ROOMS.taken.load(Ordering::Relaxed), 0);
    }
}
