// What tch has no words for: bytes that go to a GPU on a stream of their own, while another computes.

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <exception>
#include <optional>

// Copies a tensor in pinned memory to GPU `index`, and has all that is computed there later wait for it. Gives null, or what went wrong,
// for the caller to free.
extern "C" char *desumnet_upload(const at::Tensor *pinned, int64_t index, at::Tensor **uploaded) try {
    const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
    const c10::impl::VirtualGuardImpl streams(device.type());
    // One for each thread: what is allocated for a stream is kept for it.
    static thread_local std::optional<c10::Stream> own;
    if (!own || own->device() != device) {
        own = streams.getStreamFromGlobalPool(device);
    }
    const c10::Stream computing = streams.getStream(device);
    c10::Event there(device.type());
    at::Tensor copy;
    {
        const c10::StreamGuard aside(*own);
        copy = pinned->to(device, pinned->scalar_type(), /*non_blocking=*/true);
        there.record(*own);
    }
    there.block(computing);
    // Its memory is not given to another upload before what is computed from it is done.
    copy.record_stream(computing);
    *uploaded = new at::Tensor(std::move(copy));
    return nullptr;
} catch (const std::exception &error) {
    return strdup(error.what());
}
