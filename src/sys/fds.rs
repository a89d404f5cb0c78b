//! Descriptors: passed over a socket, made from memory, closed on exec, pairs and pipes.
#![expect(unsafe_code, reason = "taking a descriptor over from another owner")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Two ends of a socket that keeps messages apart.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(pair)
}

/// Largest message on a [`message_pair`].
const MESSAGE_MAX_BYTES: usize = 32 << 10;

/// Sends one byte and a descriptor.
pub(crate) fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the descriptor"));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Sends a message, cut to what the other end takes.
pub(crate) fn send_message(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    let message = &message[..message.len().min(MESSAGE_MAX_BYTES)];
    rustix::net::send(socket, message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message and the descriptor that came with it, if one did. `None`: the other end is closed.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; MESSAGE_MAX_BYTES];
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut message)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    message.truncate(received.bytes);
    let mut fd = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = part {
            fd = fds.next();
        }
    }
    Ok(Some((message, fd)))
}

/// Receives what [`send_fd`] sent. `None`: the other end is closed.
pub(crate) fn receive_fd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match receive_message(socket)? {
        None => Ok(None),
        Some((_, Some(fd))) => Ok(Some(fd)),
        Some((_, None)) => Err(io::Error::other("a message without its descriptor")),
    }
}

/// Closes every descriptor from 3 on but these. For a child that is about to become another program: whatever else in
/// this process believes to own a descriptor must not be used or dropped any more.
pub(crate) fn close_except(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept
        .iter()
        .filter_map(|fd| u32::try_from(std::os::fd::AsRawFd::as_raw_fd(fd)).ok())
        .filter(|number| *number > 2)
        .collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if number > first {
            close_range(first, number - 1, 0)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX, 0)
}

/// Takes over descriptor 0, which the parent has set up, and leaves `/dev/null` there.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(taken)
}

/// Makes the three standard descriptors of the calling process these.
pub(crate) fn set_stdio(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> io::Result<()> {
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    Ok(())
}

/// Marks every descriptor from `first` on to be closed by exec, known or not.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: plain numbers; that nobody uses the closed descriptors afterwards is the callers' word.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A pipe with both ends closed on exec: reader, writer.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(())
}

/// This program, such that nobody who gets hold of it through `/proc/<pid>/exe` can write it: opened through a read-only
/// overlay of its directory, or as a sealed copy in memory where that cannot be had.
pub(crate) fn own_image() -> io::Result<OwnedFd> {
    match image_through_overlay() {
        Ok(image) => Ok(image),
        Err(_) => sealed_copy(),
    }
}

fn image_through_overlay() -> io::Result<OwnedFd> {
    let path = std::fs::read_link("/proc/self/exe")?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    };
    // An overlay without an upper directory wants two lower ones; this one is empty.
    let empty = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&empty)?;
    let empty = rustix::mount::fsmount(
        &empty,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?;
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&overlay, "lowerdir+", folder)?;
    rustix::mount::fsconfig_set_string(&overlay, "lowerdir+", fd_path(empty.as_fd()).as_str())?;
    rustix::mount::fsconfig_create(&overlay)?;
    let mounted = rustix::mount::fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    let image = rustix::fs::openat(
        &mounted,
        Path::new(name),
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOFOLLOW,
        rustix::fs::Mode::empty(),
    )?;
    // A file of that name that is not the one running would be a replaced binary: the copy is right then.
    let running = rustix::fs::stat("/proc/self/exe")?;
    let found = rustix::fs::statat(
        &mounted,
        Path::new(name),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if (found.st_ino, found.st_size) != (running.st_ino, running.st_size) {
        return Err(io::Error::other("the program was replaced"));
    }
    Ok(image)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(
        "hoist-shim",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    let mut copy = File::from(memory);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    copy.flush()?;
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(copy.into())
}

/// The path by which this process reaches one of its descriptors.
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_write_the_image_of_the_program() {
        for image in [own_image().unwrap(), sealed_copy().unwrap()] {
            let path = fd_path(image.as_fd());
            let opened = std::fs::OpenOptions::new().append(true).open(&path);
            // A sealed copy can be opened, a file of a read-only mount cannot even be that.
            let written = opened.and_then(|mut file| file.write_all(b"x"));
            assert!(written.is_err(), "{written:?}");
        }
    }

    #[test]
    fn a_descriptor_and_a_message_cross_a_pair() {
        let (ours, theirs) = message_pair().unwrap();
        send_fd(ours.as_fd(), theirs.as_fd()).unwrap();
        assert!(receive_fd(theirs.as_fd()).unwrap().is_some());
        send_message(ours.as_fd(), b"text").unwrap();
        let (text, fd) = receive_message(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(text, b"text");
        assert!(fd.is_none());
        drop(ours);
        assert!(receive_message(theirs.as_fd()).unwrap().is_none());
    }
}
