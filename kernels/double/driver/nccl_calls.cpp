// What a communicator does when its turn in the stream comes: ranks compare what they were called with, then move bytes.
#include <algorithm>
#include <cstring>
#include <map>

#include <time.h>

#include "nccl.h"

namespace muster {
namespace {
constexpr int kAverage = 4;
const char* const kKinds[] = {"AllReduce", "AllGather", "ReduceScatter", "Broadcast", "Reduce", "Send", "Recv"};
const char* const kTypes[] = {"int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bfloat16"};

// All ranks see all records and come to the same answer.
void compare(Comm& comm, const Call& call) {
    Shared& shared = *comm.shared;
    const std::string what = text_of(call.record);
    memcpy(&shared.slot(comm.rank).record, &call.record, sizeof call.record);
    shared.meet(comm.aborted, what);
    std::string calls;
    bool same = true;
    for (int rank = 0; rank < comm.n_ranks; rank++) {
        const Record& record = shared.slot(rank).record;
        const Record& first = shared.slot(0).record;
        same = same && record.number == first.number && record.kind == first.kind && record.type == first.type &&
               record.op == first.op && record.peer == first.peer && record.count == first.count;
        calls += text("%s rank %d %s", rank == 0 ? "" : ",", rank, text_of(record).c_str());
    }
    if (!same) throw Broken{kNcclInvalidUsage, "ranks disagree:" + calls, true};
}

// One piece of at most a chunk: everybody shows theirs, then each takes what it needs.
template <class Take>
void round(Comm& comm, const std::string& what, const char* mine, size_t bytes, Take take) {
    Shared& shared = *comm.shared;
    if (mine != nullptr) memcpy(shared.chunk(comm.rank), mine, bytes);
    shared.meet(comm.aborted, what);
    take();
    shared.meet(comm.aborted, what);
}

// The ranks' chunks combined, starting at a rank that differs from piece to piece, as in a ring.
void reduce_chunks(Comm& comm, const Record& record, size_t piece, size_t count, char* to) {
    const auto n = static_cast<size_t>(comm.n_ranks);
    memcpy(to, comm.shared->chunk(static_cast<int>(piece % n)), count * bytes_of_type(record.type));
    for (size_t step = 1; step < n; step++) {
        combine(record.type, record.op, to, comm.shared->chunk(static_cast<int>((piece + step) % n)), count);
    }
    if (record.op == kAverage) divide(record.type, to, count, comm.n_ranks);
}
}  // namespace

std::string text_of(const Record& record) {
    const char* type = record.type >= 0 && record.type < 10 ? kTypes[record.type] : "?";
    std::string made = text("%s #%u (%llu x %s", kKinds[static_cast<int>(record.kind)], record.number, record.count, type);
    if (record.kind == Kind::AllReduce || record.kind == Kind::ReduceScatter || record.kind == Kind::Reduce) made += text(", op %d", record.op);
    if (record.peer >= 0) made += text(", rank %d", record.peer);
    return made + ")";
}

void run_collective(Comm& comm, const Call& call) {
    compare(comm, call);
    const Record& record = call.record;
    const std::string what = text_of(record);
    const size_t size = bytes_of_type(record.type), most = Shared::kChunk / size;
    const auto* send = static_cast<const char*>(call.send);
    auto* recv = static_cast<char*>(call.recv);
    const auto ranks = static_cast<size_t>(comm.n_ranks), rank = static_cast<size_t>(comm.rank);
    const bool is_root = comm.rank == record.peer;
    for (size_t start = 0, piece = 0; start < record.count; start += most, piece++) {
        const size_t count = std::min<size_t>(most, record.count - start);
        const size_t at = start * size, bytes = count * size, all = record.count * size;
        switch (record.kind) {
            case Kind::AllReduce:
                round(comm, what, send + at, bytes, [&] { reduce_chunks(comm, record, piece, count, recv + at); });
                break;
            case Kind::Reduce:
                round(comm, what, send + at, bytes, [&] {
                    if (is_root) reduce_chunks(comm, record, piece, count, recv + at);
                });
                break;
            case Kind::AllGather:
                round(comm, what, send + at, bytes, [&] {
                    for (size_t from = 0; from < ranks; from++) memcpy(recv + from * all + at, comm.shared->chunk(static_cast<int>(from)), bytes);
                });
                break;
            case Kind::ReduceScatter:
                for (size_t to = 0; to < ranks; to++) {
                    round(comm, what, send + to * all + at, bytes, [&] {
                        if (to == rank) reduce_chunks(comm, record, piece, count, recv + at);
                    });
                }
                break;
            case Kind::Broadcast:
                round(comm, what, is_root ? send + at : nullptr, bytes, [&] { memcpy(recv + at, comm.shared->chunk(record.peer), bytes); });
                break;
            default: break;
        }
    }
}

namespace {
// A send or a receive on its way.
struct Transfer {
    const Call* call;
    size_t moved = 0;
    bool started = false;
    bool finished(size_t total) const { return started && moved == total; }
};

// Moves the next piece through the mailbox, if the other side left room for it or put it there.
bool move_piece(Comm& comm, Transfer& transfer) {
    const Record& record = transfer.call->record;
    const size_t total = record.count * bytes_of_type(record.type);
    const size_t bytes = std::min(Mailbox::kBytes, total - transfer.moved);
    if (record.kind == Kind::Send) {
        Mailbox& box = comm.shared->mailbox(comm.rank, record.peer);
        if (box.written != box.read) return false;
        box.type = record.type;
        box.count = record.count;
        memcpy(box.data, static_cast<const char*>(transfer.call->send) + transfer.moved, bytes);
        box.written++;
    } else {
        Mailbox& box = comm.shared->mailbox(record.peer, comm.rank);
        if (box.written == box.read) return false;
        if (box.type != record.type || box.count != record.count) {
            const std::string sent = text_of(Record{record.number, Kind::Send, box.type, 0, comm.rank, box.count});
            throw Broken{kNcclInvalidUsage, text("ranks disagree: rank %d %s, rank %d %s", record.peer, sent.c_str(), comm.rank, text_of(record).c_str()), true};
        }
        memcpy(static_cast<char*>(transfer.call->recv) + transfer.moved, box.data, bytes);
        box.read++;
    }
    transfer.started = true;
    transfer.moved += bytes;
    return true;
}
}  // namespace

void run_transfers(Comm& comm, const std::vector<Call>& calls) {
    // In order between two ranks, all at once between different ones.
    std::map<std::pair<Kind, int>, std::vector<Transfer>> lines;
    for (size_t idx = calls.size(); idx-- > 0;) {
        lines[{calls[idx].record.kind, calls[idx].record.peer}].push_back(Transfer{&calls[idx]});
    }
    double since = seconds();
    while (!lines.empty()) {
        bool moved = false;
        for (auto line = lines.begin(); line != lines.end();) {
            Transfer& next = line->second.back();
            moved = move_piece(comm, next) || moved;
            if (next.finished(next.call->record.count * bytes_of_type(next.call->record.type))) line->second.pop_back();
            line = line->second.empty() ? lines.erase(line) : std::next(line);
        }
        if (moved) {
            since = seconds();
            continue;
        }
        for (const auto& line : lines) comm.shared->check_peer(line.first.second, comm.aborted, since, text_of(line.second.back().call->record));
        timespec nap{0, 100'000};
        nanosleep(&nap, nullptr);
    }
}

void run_calls(Comm& comm, const std::vector<Call>& calls) {
    std::vector<Call> transfers, collectives;
    for (const Call& call : calls) {
        const bool pair = call.record.kind == Kind::Send || call.record.kind == Kind::Recv;
        (pair ? transfers : collectives).push_back(call);
    }
    run_transfers(comm, transfers);
    for (const Call& call : collectives) run_collective(comm, call);
}

}  // namespace muster
