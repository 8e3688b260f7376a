// The scheduler of ops. One lock, one condition: an op is done, or a stream got work.
#include "stream.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <thread>

#include "capture.h"

namespace muster {
namespace {
// A lazy stream keeps at most so many ops, so that the chains it follows stay short.
constexpr size_t kLongestQueue = 4096;

std::mutex& lock() {
    static auto* made = new std::mutex;
    return *made;
}
std::condition_variable& changed() {
    static auto* made = new std::condition_variable;
    return *made;
}

uint64_t random(uint64_t& state) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 33;
}

// Runs the first op of a stream that the caller has marked busy.
void run_front(const StreamRef& stream, std::unique_lock<std::mutex>& held) {
    OpRef op = stream->queue.front();
    std::vector<OpRef> waits_for = op->waits_for;
    held.unlock();
    for (const OpRef& other : waits_for) demand(other);
    if (stream->device->sticky == kSuccess) op->run();
    held.lock();
    op->done = true;
    op->finished_at = seconds();
    op->run = nullptr;
    op->waits_for.clear();
    op->stream.reset();
    stream->queue.pop_front();
    stream->busy = false;
    changed().notify_all();
}

void work(StreamRef stream) {
    std::unique_lock<std::mutex> held(lock());
    for (;;) {
        changed().wait(held, [&] { return (!stream->queue.empty() && !stream->busy) || (stream->queue.empty() && stream->closing); });
        if (stream->queue.empty()) return;
        stream->busy = true;
        const uint64_t microseconds = random(stream->seed) % 4 == 0 ? random(stream->seed) % 300 : 0;
        if (microseconds > 0) {
            held.unlock();
            std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
            held.lock();
        }
        run_front(stream, held);
    }
}

// Every stream of a device that keeps the legacy stream's order, and the legacy streams.
struct Defaults {
    std::map<const Device*, StreamRef> legacy;
    std::vector<std::weak_ptr<Stream>> blocking;
};
Defaults& defaults() {
    static auto* made = new Defaults;
    return *made;
}

StreamRef legacy_stream(Device* device) {
    static auto* making = new std::mutex;
    std::lock_guard<std::mutex> one(*making);
    StreamRef& stream = defaults().legacy[device];
    if (stream == nullptr) {
        stream = make_stream(device, true);
        stream->legacy = true;
    }
    return stream;
}

// Held: adds the edges that the legacy default stream implies.
void follow_defaults(const StreamRef& stream, std::vector<OpRef>& waits_for) {
    if (!stream->blocking) return;
    auto& known = defaults().blocking;
    for (size_t idx = 0; idx < known.size(); idx++) {
        StreamRef other = known[idx].lock();
        if (other == nullptr) {
            known.erase(known.begin() + static_cast<long>(idx--));
            continue;
        }
        const bool ordered = other != stream && other->device == stream->device && (stream->legacy || other->legacy);
        if (ordered && other->last != nullptr && !other->last->done) waits_for.push_back(other->last);
    }
}
}  // namespace

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Mode mode() {
    static const Mode chosen = [] {
        const char* name = env("MUSTER_DOUBLE_STREAMS", "eager");
        return strcmp(name, "lazy") == 0 ? Mode::Lazy : strcmp(name, "async") == 0 ? Mode::Async : Mode::Eager;
    }();
    return chosen;
}

Handles<Stream>& streams() {
    static auto* made = new Handles<Stream>("streams");
    return *made;
}
Handles<Event>& events() {
    static auto* made = new Handles<Event>("events");
    return *made;
}

StreamRef make_stream(Device* device, bool blocking) {
    static std::atomic<uint64_t> made{0};
    auto stream = std::make_shared<Stream>();
    stream->device = device;
    stream->blocking = blocking;
    stream->seed = (env_number("MUSTER_DOUBLE_SEED", 1) << 16) + ++made;
    if (blocking) {
        std::lock_guard<std::mutex> held(lock());
        defaults().blocking.push_back(stream);
    }
    if (mode() == Mode::Async) std::thread(work, stream).detach();
    return stream;
}

StreamRef find_stream(void* handle, Device* device) {
    const auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= 1) return legacy_stream(device);
    if (number == 2) {
        thread_local std::map<Device*, StreamRef> own;
        StreamRef& stream = own[device];
        if (stream == nullptr) stream = make_stream(device, true);
        return stream;
    }
    return streams().get(handle);
}

OpRef enqueue_only(const StreamRef& stream, const char* name, std::function<void()> run, std::vector<OpRef> waits_for) {
    if (stream->capture != nullptr) {
        add_node(*stream, name, std::move(run));
        return nullptr;
    }
    auto op = std::make_shared<Op>();
    op->name = name;
    op->run = std::move(run);
    op->stream = stream;
    OpRef old;
    {
        std::lock_guard<std::mutex> held(lock());
        follow_defaults(stream, waits_for);
        op->waits_for = std::move(waits_for);
        stream->queue.push_back(op);
        stream->last = op;
        if (stream->queue.size() > kLongestQueue) old = stream->queue[kLongestQueue / 2];
        changed().notify_all();
    }
    if (old != nullptr) demand(old);
    return op;
}

OpRef enqueue(const StreamRef& stream, const char* name, std::function<void()> run, std::vector<OpRef> waits_for) {
    OpRef op = enqueue_only(stream, name, std::move(run), std::move(waits_for));
    if (op != nullptr && mode() == Mode::Eager) demand(op);
    return op;
}

void demand(const OpRef& op) {
    if (op == nullptr) return;
    std::unique_lock<std::mutex> held(lock());
    while (!op->done) {
        StreamRef stream = op->stream;
        if (mode() == Mode::Async || stream->busy) {
            changed().wait(held);
            continue;
        }
        stream->busy = true;
        run_front(stream, held);
    }
}

bool is_done(const OpRef& op) {
    std::lock_guard<std::mutex> held(lock());
    return op == nullptr || op->done;
}

void demand_all(const StreamRef& stream) {
    OpRef last;
    {
        std::lock_guard<std::mutex> held(lock());
        last = stream->last;
    }
    demand(last);
}

void demand_device(const Device* device) {
    std::vector<OpRef> pending;
    const auto take = [&](const StreamRef& stream) {
        if (stream != nullptr && stream->device == device && stream->last != nullptr) pending.push_back(stream->last);
    };
    const auto known = streams().all();
    {
        std::lock_guard<std::mutex> held(lock());
        for (const auto& stream : known) take(stream);
        for (const auto& stream : defaults().blocking) take(stream.lock());
    }
    for (const OpRef& op : pending) demand(op);
}

void close_stream(const StreamRef& stream) {
    std::lock_guard<std::mutex> held(lock());
    stream->closing = true;
    changed().notify_all();
}

}  // namespace muster
