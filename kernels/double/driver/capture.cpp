// Stream capture and graphs: recorded by the same calls that enqueue, replayed as one op.
//
// Nodes that are not ordered by an edge are replayed in an order from MUSTER_DOUBLE_SEED, except in eager mode.
#include "capture.h"

#include <algorithm>

namespace muster {
namespace {

struct Exec {
    std::shared_ptr<const Graph> graph;
    Device* device;
};

Handles<Graph>& graphs() {
    static auto* made = new Handles<Graph>("graphs");
    return *made;
}
Handles<Exec>& execs() {
    static auto* made = new Handles<Exec>("graph executables");
    return *made;
}

void replay(const Graph& graph, const Device& device, uint64_t seed) {
    std::vector<size_t> missing(graph.nodes.size());
    std::vector<std::vector<size_t>> followers(graph.nodes.size());
    std::vector<size_t> ready;
    for (size_t idx = 0; idx < graph.nodes.size(); idx++) {
        missing[idx] = graph.nodes[idx].after.size();
        for (size_t before : graph.nodes[idx].after) followers[before].push_back(idx);
        if (missing[idx] == 0) ready.push_back(idx);
    }
    while (!ready.empty() && device.sticky == kSuccess) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        const size_t pick = mode() == Mode::Eager ? 0 : (seed >> 33) % ready.size();
        const size_t node = ready[pick];
        ready.erase(ready.begin() + static_cast<long>(pick));
        graph.nodes[node].run();
        for (size_t next : followers[node]) {
            if (--missing[next] == 0) ready.push_back(next);
        }
    }
}

// True where every node of the capture comes before the frontier of its origin.
bool all_joined(const Capture& capture) {
    const Graph& graph = *capture.graph;
    std::vector<bool> seen(graph.nodes.size());
    std::vector<size_t> open = capture.origin->frontier;
    while (!open.empty()) {
        const size_t node = open.back();
        open.pop_back();
        if (seen[node]) continue;
        seen[node] = true;
        open.insert(open.end(), graph.nodes[node].after.begin(), graph.nodes[node].after.end());
    }
    return std::all_of(capture.joined.begin(), capture.joined.end(), [&](const StreamRef& stream) {
        return std::all_of(stream->frontier.begin(), stream->frontier.end(), [&](size_t node) { return seen[node]; });
    });
}

void add_edges(std::vector<size_t>& to, const std::vector<size_t>& from) {
    for (size_t node : from) {
        if (std::find(to.begin(), to.end(), node) == to.end()) to.push_back(node);
    }
}
}  // namespace

void add_node(Stream& stream, const char* name, std::function<void()> run) {
    Graph& graph = *stream.capture->graph;
    graph.nodes.push_back(Node{name, std::move(run), stream.frontier});
    stream.frontier = {graph.nodes.size() - 1};
}

Status refuse_capture(Stream& stream, const char* what) {
    if (stream.capture == nullptr) return kSuccess;
    stream.capture->invalid = true;
    return fail(kCaptureUnsupported, std::string(what) + " on a stream that is being captured");
}

void record_captured(Event& event, const StreamRef& stream) {
    event.capture = stream->capture;
    event.nodes = stream->frontier;
    event.marker = nullptr;
}

Status wait_captured(const StreamRef& stream, Event& event) {
    if (event.capture != nullptr && stream->capture == nullptr) {
        stream->capture = event.capture;
        stream->frontier = event.nodes;
        stream->capture->joined.push_back(stream);
        return kSuccess;
    }
    if (event.capture == stream->capture) {
        add_edges(stream->frontier, event.nodes);
        return kSuccess;
    }
    if (event.marker == nullptr && event.capture == nullptr) return kSuccess;
    stream->capture->invalid = true;
    return fail(kCaptureIsolation, "a stream that is being captured waits for an event that was recorded outside of the capture");
}

}  // namespace muster

using namespace muster;

MUSTER_API Status cuStreamBeginCapture_v2(void* handle, int) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamBeginCapture: no such stream");
    if (stream->legacy) return fail(kCaptureUnsupported, "the legacy default stream cannot be captured");
    if (stream->capture != nullptr) return fail(kIllegalState, "the stream is already being captured");
    stream->capture = std::make_shared<Capture>();
    stream->capture->origin = stream.get();
    stream->frontier.clear();
    return kSuccess;
}

MUSTER_API Status cuStreamEndCapture(void* handle, void** graph) {
    MUSTER_ENTER(device);
    *graph = nullptr;
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr || stream->capture == nullptr) return fail(kIllegalState, "cuStreamEndCapture: the stream is not being captured");
    std::shared_ptr<Capture> capture = stream->capture;
    if (capture->origin != stream.get()) return fail(kCaptureUnmatched, "cuStreamEndCapture on a stream that only joined the capture");
    const bool joined = all_joined(*capture);
    for (const StreamRef& other : capture->joined) {
        other->capture = nullptr;
        other->frontier.clear();
    }
    stream->capture = nullptr;
    stream->frontier.clear();
    if (capture->invalid) return fail(kCaptureInvalidated, "the capture was invalidated by an earlier call");
    if (!joined) return fail(kCaptureUnjoined, "a stream that was forked from the capture has not joined it again");
    *graph = graphs().add(capture->graph);
    return kSuccess;
}

MUSTER_API Status cuStreamIsCapturing(void* handle, int* status) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuStreamIsCapturing: no such stream");
    *status = stream->capture == nullptr ? 0 : stream->capture->invalid ? 2 : 1;
    return kSuccess;
}

MUSTER_API Status cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    MUSTER_ENTER(device);
    auto found = graphs().get(graph);
    if (found == nullptr) return fail(kInvalidHandle, "cuGraphInstantiate: no such graph");
    auto made = std::make_shared<Exec>();
    made->graph = std::make_shared<const Graph>(*found);
    made->device = device;
    *exec = execs().add(made);
    return kSuccess;
}

MUSTER_API Status cuGraphLaunch(void* exec, void* handle) {
    MUSTER_ENTER(device);
    auto found = execs().get(exec);
    StreamRef stream = find_stream(handle, device);
    if (found == nullptr || stream == nullptr) return fail(kInvalidHandle, "cuGraphLaunch: no such graph or stream");
    if (stream->device != found->device) return fail(kInvalidHandle, "cuGraphLaunch: the graph belongs to another device");
    const uint64_t seed = env_number("MUSTER_DOUBLE_SEED", 1);
    std::shared_ptr<const Graph> graph = found->graph;
    enqueue(stream, "graph", [graph, device, seed] { replay(*graph, *device, seed); });
    return kSuccess;
}

MUSTER_API Status cuGraphUpload(void* exec, void*) {
    MUSTER_ENTER(device);
    return execs().get(exec) == nullptr ? fail(kInvalidHandle, "cuGraphUpload: no such graph") : kSuccess;
}

MUSTER_API Status cuGraphGetNodes(void* graph, void**, size_t* count) {
    auto found = graphs().get(graph);
    if (found == nullptr) return fail(kInvalidHandle, "cuGraphGetNodes: no such graph");
    *count = found->nodes.size();
    return kSuccess;
}

MUSTER_API Status cuGraphExecDestroy(void* exec) {
    return execs().remove(exec) == nullptr ? fail(kInvalidHandle, "cuGraphExecDestroy: no such graph") : kSuccess;
}

MUSTER_API Status cuGraphDestroy(void* graph) {
    return graphs().remove(graph) == nullptr ? fail(kInvalidHandle, "cuGraphDestroy: no such graph") : kSuccess;
}
