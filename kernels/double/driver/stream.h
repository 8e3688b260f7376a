// Streams as queues of ops with edges between them, and when they run: eager, lazy or async.
//
// eager: an op runs as it is enqueued. lazy: only when something waits for it, and then nothing else. async: a thread
// a stream, with delays from a seed. MUSTER_DOUBLE_STREAMS chooses; an order that a program forgot to ask for
// shows in at least one of them.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "world.h"

namespace muster {

struct Stream;
struct Capture;

struct Op {
    const char* name;
    // May run more than once as a node of a graph, so it owns what it needs.
    std::function<void()> run;
    std::vector<std::shared_ptr<Op>> waits_for;
    std::shared_ptr<Stream> stream;
    bool done = false;
    double finished_at = 0;
};
using OpRef = std::shared_ptr<Op>;

struct Stream {
    Device* device = nullptr;
    // Takes part in the order of the legacy default stream.
    bool blocking = false;
    bool legacy = false;
    std::deque<OpRef> queue;
    OpRef last;
    bool busy = false;
    bool closing = false;
    uint64_t seed = 0;
    // While the stream is captured: the graph in the making and the nodes that the next one follows.
    std::shared_ptr<Capture> capture;
    std::vector<size_t> frontier;
};
using StreamRef = std::shared_ptr<Stream>;

struct Event {
    Device* device = nullptr;
    // Held for the marker.
    std::mutex lock;
    OpRef marker;
    std::shared_ptr<Capture> capture;
    std::vector<size_t> nodes;
    std::atomic<int> unanswered{0};
};

enum class Mode { Eager, Lazy, Async };
Mode mode();

StreamRef make_stream(Device* device, bool blocking);
// The stream of a handle as seen by the current device: null and 1 are the legacy stream, 2 the thread's own.
StreamRef find_stream(void* handle, Device* device);
Handles<Stream>& streams();
Handles<Event>& events();

// Puts work at the end of the stream, or into the graph that captures it. Null in the latter case.
OpRef enqueue(const StreamRef& stream, const char* name, std::function<void()> run, std::vector<OpRef> waits_for = {});
// Without running it in eager mode; for ops that need each other.
OpRef enqueue_only(const StreamRef& stream, const char* name, std::function<void()> run, std::vector<OpRef> waits_for = {});
// Returns when the op has run; runs it where the mode leaves that to the waiter.
void demand(const OpRef& op);
void demand_all(const StreamRef& stream);
void demand_device(const Device* device);
bool is_done(const OpRef& op);
// Lets the stream's thread end, after what is queued.
void close_stream(const StreamRef& stream);
double seconds();

}  // namespace muster
