// cuStream* and cuEvent*: handles to the scheduler's streams and edges.
#include "capture.h"
#include "stream.h"

using namespace muster;

namespace {
// So many times a query answers "not ready" where nothing runs unless it is waited for.
constexpr int kUnanswered = 3;
constexpr unsigned kNonBlocking = 1;

Status device_status(const Device* device) { return device->sticky; }

// What an event stands for; another thread than the one that recorded it may ask.
OpRef marker_of(Event& event) {
    std::lock_guard<std::mutex> held(event.lock);
    return event.marker;
}

Status query(const OpRef& op, std::atomic<int>& unanswered, const Device* device) {
    if (is_done(op)) return device_status(device);
    if (mode() != Mode::Async && ++unanswered > kUnanswered) {
        unanswered = 0;
        demand(op);
        return device_status(device);
    }
    return kNotReady;
}
}  // namespace

MUSTER_API Status cuStreamCreate(void** handle, unsigned flags) {
    MUSTER_ENTER(device);
    *handle = streams().add(make_stream(device, (flags & kNonBlocking) == 0));
    return kSuccess;
}

MUSTER_API Status cuStreamCreateWithPriority(void** handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }

MUSTER_API Status cuStreamDestroy_v2(void* handle) {
    auto stream = streams().get(handle);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamDestroy: no such stream");
    if (stream->capture != nullptr) {
        stream->capture->invalid = true;
        stream->capture = nullptr;
    }
    demand_all(stream);
    close_stream(stream);
    streams().remove(handle);
    return device_status(stream->device);
}

MUSTER_API Status cuStreamSynchronize(void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamSynchronize: no such stream");
    if (Status refused = refuse_capture(*stream, "cuStreamSynchronize")) return refused;
    demand_all(stream);
    return device_status(stream->device);
}

MUSTER_API Status cuStreamQuery(void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamQuery: no such stream");
    if (Status refused = refuse_capture(*stream, "cuStreamQuery")) return refused;
    thread_local std::atomic<int> unanswered{0};
    return query(stream->last, unanswered, stream->device);
}

MUSTER_API Status cuStreamGetCtx(void* handle, void** context) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamGetCtx: no such stream");
    *context = stream->device;
    return kSuccess;
}

MUSTER_API Status cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    auto event = events().get(event_handle);
    if (stream == nullptr || event == nullptr) return fail(kInvalidHandle, "cuStreamWaitEvent: no such stream or event");
    if (stream->capture != nullptr || event->capture != nullptr) return wait_captured(stream, *event);
    const OpRef marker = marker_of(*event);
    if (marker != nullptr) enqueue(stream, "wait", [] {}, {marker});
    return kSuccess;
}

MUSTER_API Status cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuLaunchHostFunc: no such stream");
    enqueue(stream, "host function", [function, data] { function(data); });
    return kSuccess;
}

MUSTER_API Status cuEventCreate(void** handle, unsigned) {
    MUSTER_ENTER(device);
    auto event = std::make_shared<Event>();
    event->device = device;
    *handle = events().add(event);
    return kSuccess;
}

MUSTER_API Status cuEventDestroy_v2(void* handle) {
    return events().remove(handle) == nullptr ? fail(kInvalidHandle, "cuEventDestroy: no such event") : kSuccess;
}

MUSTER_API Status cuEventRecord(void* handle, void* stream_handle) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(stream_handle, device);
    auto event = events().get(handle);
    if (stream == nullptr || event == nullptr) return fail(kInvalidHandle, "cuEventRecord: no such stream or event");
    if (event->device != stream->device) return fail(kInvalidHandle, "cuEventRecord: the event belongs to another device than the stream");
    if (stream->capture != nullptr) {
        record_captured(*event, stream);
        return kSuccess;
    }
    event->capture = nullptr;
    const OpRef marker = enqueue(stream, "record", [] {});
    std::lock_guard<std::mutex> held(event->lock);
    event->marker = marker;
    event->unanswered = 0;
    return kSuccess;
}

MUSTER_API Status cuEventRecordWithFlags(void* handle, void* stream, unsigned) { return cuEventRecord(handle, stream); }

MUSTER_API Status cuEventSynchronize(void* handle) {
    MUSTER_ENTER(device);
    auto event = events().get(handle);
    if (event == nullptr) return fail(kInvalidHandle, "cuEventSynchronize: no such event");
    if (event->capture != nullptr) return fail(kCaptureUnsupported, "cuEventSynchronize: the event was recorded into a graph");
    demand(marker_of(*event));
    return device_status(event->device);
}

MUSTER_API Status cuEventQuery(void* handle) {
    MUSTER_ENTER(device);
    auto event = events().get(handle);
    if (event == nullptr) return fail(kInvalidHandle, "cuEventQuery: no such event");
    if (event->capture != nullptr) return fail(kCaptureUnsupported, "cuEventQuery: the event was recorded into a graph");
    return query(marker_of(*event), event->unanswered, event->device);
}

MUSTER_API Status cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) {
    MUSTER_ENTER(device);
    auto first = events().get(from);
    auto second = events().get(to);
    if (first == nullptr || second == nullptr) return fail(kInvalidHandle, "cuEventElapsedTime: no such event");
    if (first->marker == nullptr || second->marker == nullptr) return fail(kInvalidHandle, "cuEventElapsedTime: an event was never recorded");
    if (!is_done(first->marker) || !is_done(second->marker)) return kNotReady;
    *milliseconds = static_cast<float>((second->marker->finished_at - first->marker->finished_at) * 1e3);
    return device->sticky;
}

MUSTER_API Status cuEventElapsedTime(float* milliseconds, void* from, void* to) { return cuEventElapsedTime_v2(milliseconds, from, to); }
