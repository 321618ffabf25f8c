//! The two directions of a connection, for handlers that read and write at the same time.

use std::marker::PhantomData;

use crate::conn::chunk::Chunk;
use crate::conn::frame::{ReadFrame, ReadLine, read_exact};
use crate::conn::handle::{Flush, Handle, Read, Write};
use crate::conn::output::Output;
use crate::error::Error;
use crate::step::Step;

/// The reading half of [`Conn::split`](crate::Conn::split).
#[derive(Debug)]
pub struct ReadHalf<'a> {
    pub(super) handle: Handle,
    borrow: PhantomData<&'a mut Handle>,
}

/// The writing half of [`Conn::split`](crate::Conn::split).
#[derive(Debug)]
pub struct WriteHalf<'a> {
    pub(super) handle: Handle,
    borrow: PhantomData<&'a mut Handle>,
}

pub(super) fn halves<'a>(handle: Handle) -> (ReadHalf<'a>, WriteHalf<'a>) {
    (
        ReadHalf {
            handle,
            borrow: PhantomData,
        },
        WriteHalf {
            handle,
            borrow: PhantomData,
        },
    )
}

impl ReadHalf<'_> {
    /// As [`Conn::read`](crate::Conn::read).
    ///
    /// # Errors
    ///
    /// As for [`Conn::read`](crate::Conn::read).
    pub fn read(&mut self) -> Read<'_> {
        Read::of(self.handle)
    }

    /// As [`Conn::read_frame`](crate::Conn::read_frame).
    ///
    /// # Errors
    ///
    /// As for [`Conn::read_frame`](crate::Conn::read_frame).
    pub fn read_frame<T, P: FnMut(&[u8]) -> Step<T>>(
        &mut self,
        frame_max: usize,
        parse: P,
    ) -> ReadFrame<'_, T, P> {
        ReadFrame::of(self.handle, frame_max, parse)
    }

    /// As [`Conn::read_line`](crate::Conn::read_line).
    ///
    /// # Errors
    ///
    /// As for [`Conn::read_frame`](crate::Conn::read_frame).
    pub fn read_line(&mut self, line_max: usize) -> ReadLine<'_> {
        ReadLine::of(self.handle, line_max)
    }

    /// As [`Conn::read_exact`](crate::Conn::read_exact).
    ///
    /// # Errors
    ///
    /// As for [`Conn::read_frame`](crate::Conn::read_frame).
    pub async fn read_exact(&mut self, length: usize) -> Result<Option<Chunk>, Error> {
        read_exact(self.handle, length).await
    }
}

impl WriteHalf<'_> {
    /// As [`Conn::write`](crate::Conn::write).
    ///
    /// # Errors
    ///
    /// As for [`Conn::write`](crate::Conn::write).
    pub fn write<'a>(&'a mut self, data: impl Into<Output<'a>>) -> Write<'a> {
        Write::of(self.handle, data.into())
    }

    /// As [`Conn::flush`](crate::Conn::flush).
    ///
    /// # Errors
    ///
    /// As for [`Conn::flush`](crate::Conn::flush).
    pub fn flush(&mut self) -> Flush<'_> {
        Flush::of(self.handle)
    }

    /// As [`Conn::close`](crate::Conn::close): the peer learns that nothing more comes, and may go
    /// on itself.
    ///
    /// # Errors
    ///
    /// As for [`Conn::close`](crate::Conn::close).
    pub async fn close(&mut self) -> Result<(), Error> {
        self.handle.close().await
    }
}
