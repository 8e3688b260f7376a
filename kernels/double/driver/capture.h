// Graphs: what a captured stream was asked to do, with the edges between the nodes.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "stream.h"

namespace muster {

struct Node {
    const char* name;
    std::function<void()> run;
    std::vector<size_t> after;
};

struct Graph {
    std::vector<Node> nodes;
};

// A capture in progress, shared by the streams that have joined it.
struct Capture {
    Stream* origin = nullptr;
    std::shared_ptr<Graph> graph = std::make_shared<Graph>();
    std::vector<StreamRef> joined;
    bool invalid = false;
};

// Appends a node to the graph that captures the stream.
void add_node(Stream& stream, const char* name, std::function<void()> run);
// A call that a capture does not survive: marks it and returns the error, or kSuccess if the stream is not captured.
Status refuse_capture(Stream& stream, const char* what);
// Edges by events, for cuEventRecord and cuStreamWaitEvent under capture.
void record_captured(Event& event, const StreamRef& stream);
Status wait_captured(const StreamRef& stream, Event& event);

}  // namespace muster
