//! Streams on the files of a component. Where a guest asks not to wait, those of wasmtime-wasi read and write on a thread of
//! the runtime. A worker has one thread, and its walls let it have no other: here each call is done before it returns.

use bytes::Bytes;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use waft_engine::imports::components::WASI_VERSION;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::{WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{Descriptor, ErrorCode, Host, HostDescriptor};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsResult, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

/// A stream whose calls that wait are done at once, and stand for those that do not.
struct Now<S>(S);

fn now<T>(work: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(StreamError::trap("a file was not read or written at once")),
    }
}

#[async_trait::async_trait]
impl Pollable for Now<DynInputStream> {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl InputStream for Now<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        // The end of the file, else.
        if size == 0 { Ok(Bytes::new()) } else { now(self.0.blocking_read(size)) }
    }
}

#[async_trait::async_trait]
impl Pollable for Now<DynOutputStream> {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl OutputStream for Now<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        now(self.0.blocking_write_and_flush(bytes))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.check_write()
    }
}

fn input(table: &mut ResourceTable, made: Resource<DynInputStream>) -> FsResult<Resource<DynInputStream>> {
    let stream: DynInputStream = Box::new(Now(table.delete(made)?));
    Ok(table.push(stream)?)
}

fn output(table: &mut ResourceTable, made: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
    let stream: DynOutputStream = Box::new(Now(table.delete(made)?));
    Ok(table.push(stream)?)
}

/// What a call of `wasi:filesystem` returns.
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

fn answer<T>(view: &mut WasiFilesystemCtxView<'_>, made: FsResult<T>) -> Answer<T> {
    match made {
        Ok(made) => Ok((Ok(made),)),
        Err(error) => Ok((Err(view.convert_error_code(error)?),)),
    }
}

/// In place of those that are there.
pub(super) fn add<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types =
        linker.instance(&format!("wasi:filesystem/types@{}{}", WASI_VERSION.0, WASI_VERSION.1))?;
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut cx: StoreContextMut<'_, T>, (file, offset): (Resource<Descriptor>, u64)| {
            let mut view = cx.data_mut().filesystem();
            let made = view.read_via_stream(file, offset);
            let made = made.and_then(|made| input(view.table, made));
            answer(&mut view, made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut cx: StoreContextMut<'_, T>, (file, offset): (Resource<Descriptor>, u64)| {
            let mut view = cx.data_mut().filesystem();
            let made = view.write_via_stream(file, offset);
            let made = made.and_then(|made| output(view.table, made));
            answer(&mut view, made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut cx: StoreContextMut<'_, T>, (file,): (Resource<Descriptor>,)| {
            let mut view = cx.data_mut().filesystem();
            let made = view.append_via_stream(file);
            let made = made.and_then(|made| output(view.table, made));
            answer(&mut view, made)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
