//! The allocator of ONNX Runtime's tensors: this process's own, so that what they take counts against its limit.

use ort::AsPointer;
use ort::environment::Environment;
use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::ptr;

/// Bytes before each block, which hold its size, and the alignment of blocks: that of the widest vectors.
const HEADER: usize = 64;

/// The allocator, as ONNX Runtime sees it; it is never let go.
#[repr(C)]
struct Counted {
    base: ort::sys::OrtAllocator,
    info: *const ort::sys::OrtMemoryInfo,
}

/// Has all sessions of the environment allocate by this process's allocator.
pub(super) fn register(environment: &Environment) -> Result<(), String> {
    let api = ort::api();
    let mut info = ptr::null_mut();
    // SAFETY: the arguments are those that the function's documentation asks for; `info` is written on success.
    let status = unsafe {
        (api.CreateCpuMemoryInfo)(
            ort::sys::OrtAllocatorType::OrtDeviceAllocator,
            ort::sys::OrtMemType::OrtMemTypeDefault,
            &raw mut info,
        )
    };
    // SAFETY: the status is one that ONNX Runtime has just returned.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.to_string())?;
    // SAFETY: it returns a table of null pointers and the version.
    let mut base = unsafe { ort::sys::OrtAllocator::default() };
    base.Alloc = Some(allocate);
    base.Free = Some(free);
    base.Info = Some(information);
    base.Reserve = Some(reserve);
    let counted: &'static mut Counted = Box::leak(Box::new(Counted { base, info }));
    // SAFETY: the environment is alive, and the allocator lives for ever.
    let status = unsafe {
        (api.RegisterAllocator)(
            environment.ptr().cast_mut(),
            ptr::from_mut(counted).cast::<ort::sys::OrtAllocator>(),
        )
    };
    // SAFETY: as above.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.to_string())
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, HEADER).ok()
}

#[expect(clippy::cast_ptr_alignment)] // The layout is aligned for the header.
fn block(size: usize) -> *mut c_void {
    let Some(layout) = layout(size) else {
        return ptr::null_mut();
    };
    // SAFETY: the layout is not empty; the size is written inside of the header, and the block begins behind it.
    unsafe {
        let start = alloc(layout);
        if start.is_null() {
            return ptr::null_mut();
        }
        start.cast::<usize>().write(size);
        start.add(HEADER).cast()
    }
}

unsafe extern "system" fn allocate(_: *mut ort::sys::OrtAllocator, size: usize) -> *mut c_void {
    block(size)
}

unsafe extern "system" fn reserve(_: *const ort::sys::OrtAllocator, size: usize) -> *mut c_void {
    block(size)
}

#[expect(clippy::cast_ptr_alignment)] // The layout is aligned for the header.
unsafe extern "system" fn free(_: *mut ort::sys::OrtAllocator, block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: ONNX Runtime gives back what `block` returned: behind a header that holds its size.
    unsafe {
        let start = block.cast::<u8>().sub(HEADER);
        let size = start.cast::<usize>().read();
        if let Some(layout) = layout(size) {
            dealloc(start, layout);
        }
    }
}

unsafe extern "system" fn information(
    this: *const ort::sys::OrtAllocator,
) -> *const ort::sys::OrtMemoryInfo {
    // SAFETY: ONNX Runtime calls it with the allocator that was registered, which is the first field of `Counted`.
    unsafe { (*this.cast::<Counted>()).info }
}
