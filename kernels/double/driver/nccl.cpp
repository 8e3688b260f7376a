// The NCCL double's entry points: communicators between threads and processes, groups, errors that come later.
//
// A call is judged as it is made and runs in stream order. What goes wrong then is kept for ncclCommGetAsyncError;
// where the ranks called different things, the device fails as well, so that nobody overlooks it.
#include <cstring>
#include <thread>

#include <time.h>

#include <sys/random.h>
#include <unistd.h>

#include "memory.h"
#include "nccl.h"

using namespace muster;

namespace {

Handles<Comm>& comms() {
    static auto* made = new Handles<Comm>("communicators");
    return *made;
}

struct Group {
    int depth = 0;
    std::vector<Call> calls;
    std::vector<std::thread> joins;
    int status = kNcclOk;
};
thread_local Group group;

int refuse(int status, const std::string& what) { return fail(status, "nccl: " + what); }

void join(const CommRef& comm, const UniqueId& id) {
    try {
        comm->shared = std::make_unique<Shared>(id, comm->n_ranks, comm->rank);
        comm->shared->join(comm->device->physical, comm->aborted);
        comm->shared->leave();
        comm->state = kNcclOk;
    } catch (const Broken& broken) {
        if (comm->shared != nullptr) comm->shared->leave();
        comm->state = broken.status == kNcclOk ? kNcclRemote : broken.status;
        report("nccl: " + broken.why);
    }
}

// Links are slow, on demand: who does not wait for a collective then comes before it.
void linger() {
    const long delay = static_cast<long>(env_number("MUSTER_DOUBLE_NCCL_DELAY", 0));
    timespec nap{delay / 1000, delay % 1000 * 1'000'000};
    if (delay > 0) nanosleep(&nap, nullptr);
}

// What would have been received is not there: no one shall take the old bytes for it.
void spoil(const std::vector<Call>& calls) {
    for (const Call& call : calls) {
        if (call.recv == nullptr) continue;
        const size_t copies = call.record.kind == Kind::AllGather ? static_cast<size_t>(call.comm->n_ranks) : 1;
        memset(call.recv, 0xff, copies * call.record.count * bytes_of_type(call.record.type));
    }
}

// NCCL's kernels stay on their stream after an error, until somebody aborts; on demand, the double's do so too.
void stay(const Comm& comm) {
    if (strcmp(env("MUSTER_DOUBLE_NCCL_ERROR", ""), "stay") != 0) return;
    std::atomic<unsigned> never{0};
    while (!comm.aborted) sleep_on(never, 0);
}

// A fault of NCCL's that the product has to survive, on demand: an abort that never ends, or not until a file is there.
void hang_if_planted() {
    const std::string how = env("MUSTER_DOUBLE_NCCL_ABORT", "");
    const std::string until = how.rfind("until:", 0) == 0 ? how.substr(6) : "";
    std::atomic<unsigned> never{0};
    while (how == "hang" || (!until.empty() && access(until.c_str(), F_OK) != 0)) sleep_on(never, 0);
}

void execute(const CommRef& comm, const std::vector<Call>& calls) {
    comm->in_flight++;
    try {
        if (comm->state != kNcclOk) throw Broken{comm->state, "a call on a communicator that is broken", false};
        if (comm->aborted) throw Broken{kNcclOk, "aborted", false};
        std::vector<Call> numbered = calls;
        for (Call& call : numbered) call.record.number = ++comm->calls;
        linger();
        run_calls(*comm, numbered);
    } catch (const Broken& broken) {
        spoil(calls);
        if (broken.status != kNcclOk) {
            comm->state = broken.status;
            if (broken.disagreement) fail_device(*comm->device, kLaunchFailed, "nccl: " + broken.why);
            else report("nccl: " + broken.why);
            stay(*comm);
        }
    }
    comm->in_flight--;
}

std::string check_buffers(const Call& call) {
    const size_t bytes = call.record.count * bytes_of_type(call.record.type);
    if (bytes == 0) return "";
    const auto ranks = static_cast<size_t>(call.comm->n_ranks);
    const bool is_root = call.comm->rank == call.record.peer;
    const bool root_only = call.record.kind == Kind::Broadcast;
    std::string wrong;
    if (call.send != nullptr && (!root_only || is_root)) {
        wrong = check_device(call.send, call.record.kind == Kind::ReduceScatter ? bytes * ranks : bytes, call.comm->device);
    }
    if (wrong.empty() && call.recv != nullptr && (call.record.kind != Kind::Reduce || is_root)) {
        wrong = check_device(call.recv, call.record.kind == Kind::AllGather ? bytes * ranks : bytes, call.comm->device);
    }
    return wrong;
}

// Puts the group's calls into their streams, one op a communicator.
int launch_group(std::vector<Call>& calls) {
    std::vector<std::pair<CommRef, std::vector<Call>>> by_comm;
    for (Call& call : calls) {
        auto at = by_comm.begin();
        while (at != by_comm.end() && at->first != call.comm) at++;
        if (at == by_comm.end()) at = by_comm.insert(at, {call.comm, {}});
        if (!at->second.empty() && at->second.front().stream != call.stream) {
            return refuse(kNcclInvalidUsage, "one communicator on two streams in a group (the double does not know that)");
        }
        at->second.push_back(call);
    }
    // Ops of one group need each other: whoever runs one lets the others run beside it.
    auto ops = std::make_shared<std::vector<OpRef>>();
    for (auto& entry : by_comm) {
        const CommRef comm = entry.first;
        const std::vector<Call> own = entry.second;
        const bool alone = by_comm.size() == 1;
        comm->last = enqueue_only(own.front().stream, "nccl", [comm, own, ops, alone] {
            std::vector<std::thread> beside;
            for (size_t idx = 0; !alone && mode() != Mode::Async && idx < ops->size(); idx++) {
                OpRef other = (*ops)[idx];
                beside.emplace_back([other] { demand(other); });
            }
            execute(comm, own);
            for (std::thread& thread : beside) thread.detach();
        });
        if (comm->last != nullptr) ops->push_back(comm->last);
    }
    if (mode() != Mode::Eager) return kNcclOk;
    for (const OpRef& op : *ops) demand(op);
    for (auto& entry : by_comm) {
        if (entry.first->state != kNcclOk && entry.first->state != kNcclInProgress) return entry.first->state;
    }
    return kNcclOk;
}

int add(void* handle, Kind kind, const void* send, void* recv, size_t count, int type, int op, int peer, void* stream_handle) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    const int state = comm->state;
    if (state != kNcclOk) return refuse(state == kNcclInProgress ? kNcclInvalidUsage : state, state == kNcclInProgress ? "a call before the communicator is ready" : "a call on a communicator that is broken");
    StreamRef stream = find_stream(stream_handle, comm->device);
    if (stream == nullptr || stream->device != comm->device) return refuse(kNcclInvalidArgument, "no such stream on the communicator's device");
    if (comm->device->sticky != kSuccess) return kNcclCuda;
    if (bytes_of_type(type) == 0) return refuse(kNcclInvalidArgument, text("element type %d", type));
    if (op < 0 || op > 4) return refuse(kNcclInvalidArgument, text("reduction %d", op));
    const bool needs_peer = kind == Kind::Broadcast || kind == Kind::Reduce || kind == Kind::Send || kind == Kind::Recv;
    if (needs_peer && (peer < 0 || peer >= comm->n_ranks)) return refuse(kNcclInvalidArgument, text("rank %d of %d", peer, comm->n_ranks));
    Call call{comm, Record{0, kind, type, op, needs_peer ? peer : -1, count}, send, recv, stream};
    const std::string wrong = check_buffers(call);
    if (!wrong.empty()) return refuse(kNcclInvalidArgument, text_of(call.record) + ": " + wrong);
    if (group.depth > 0) {
        group.calls.push_back(call);
        return kNcclOk;
    }
    std::vector<Call> alone{call};
    return launch_group(alone);
}

int init(void** handle, int n_ranks, const UniqueId& id, int rank, bool blocking) {
    *handle = nullptr;
    Device* device = current();
    if (device == nullptr) return refuse(kNcclCuda, "no current context");
    if (n_ranks < 1 || n_ranks > kMaxRanks || rank < 0 || rank >= n_ranks) return refuse(kNcclInvalidArgument, text("rank %d of %d", rank, n_ranks));
    auto comm = std::make_shared<Comm>();
    comm->device = device;
    comm->rank = rank;
    comm->n_ranks = n_ranks;
    if (group.depth > 0) {
        group.joins.emplace_back([comm, id] { join(comm, id); });
    } else if (blocking) {
        join(comm, id);
        if (comm->state != kNcclOk) return comm->state;
    } else {
        std::thread([comm, id] { join(comm, id); }).detach();
    }
    *handle = comms().add(comm);
    return blocking || group.depth > 0 ? kNcclOk : kNcclInProgress;
}
}  // namespace

MUSTER_API int ncclGetVersion(int* version) {
    *version = 22707;
    return kNcclOk;
}

MUSTER_API int ncclGetUniqueId(UniqueId* id) {
    memset(id->bytes, 0, sizeof id->bytes);
    return getrandom(id->bytes, 16, 0) == 16 ? kNcclOk : kNcclSystem;
}

MUSTER_API int ncclCommInitRank(void** comm, int n_ranks, UniqueId id, int rank) { return init(comm, n_ranks, id, rank, true); }

MUSTER_API int ncclCommInitRankConfig(void** comm, int n_ranks, UniqueId id, int rank, const void* config) {
    // size_t size; unsigned magic, version; int blocking.
    int blocking = 1;
    if (config != nullptr) memcpy(&blocking, static_cast<const char*>(config) + 16, sizeof blocking);
    return init(comm, n_ranks, id, rank, blocking != 0);
}

MUSTER_API int ncclCommInitAll(void** made, int n_devices, const int* list) {
    UniqueId id;
    ncclGetUniqueId(&id);
    Device* before = current();
    group.depth++;
    for (int rank = 0; rank < n_devices; rank++) {
        const auto ordinal = static_cast<size_t>(list == nullptr ? rank : list[rank]);
        if (ordinal < devices().size()) set_current(devices()[ordinal]);
        init(&made[rank], n_devices, id, rank, true);
    }
    set_current(before);
    group.depth--;
    for (std::thread& thread : group.joins) thread.join();
    group.joins.clear();
    for (int rank = 0; rank < n_devices; rank++) {
        auto comm = comms().get(made[rank]);
        if (comm == nullptr || comm->state != kNcclOk) return comm == nullptr ? kNcclInvalidArgument : comm->state.load();
    }
    return kNcclOk;
}

MUSTER_API int ncclCommAbort(void* handle) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    hang_if_planted();
    comm->aborted = true;
    if (comm->shared != nullptr && comm->state != kNcclInProgress) {
        Slot& slot = comm->shared->slot(comm->rank);
        slot.aborted = 1;
        wake(slot.arrived);
    }
    std::atomic<unsigned> never{0};
    while (comm->in_flight > 0 || comm->state == kNcclInProgress) sleep_on(never, 0);
    comms().remove(handle);
    return kNcclOk;
}

MUSTER_API int ncclCommFinalize(void* handle) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    demand(comm->last);
    return kNcclOk;
}

MUSTER_API int ncclCommDestroy(void* handle) {
    const int status = ncclCommFinalize(handle);
    comms().remove(handle);
    return status;
}

MUSTER_API int ncclCommGetAsyncError(void* handle, int* error) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    *error = comm->state;
    return kNcclOk;
}

MUSTER_API int ncclCommCount(void* handle, int* count) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    *count = comm->n_ranks;
    return kNcclOk;
}

MUSTER_API int ncclCommUserRank(void* handle, int* rank) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    *rank = comm->rank;
    return kNcclOk;
}

MUSTER_API int ncclCommCuDevice(void* handle, int* device) {
    CommRef comm = comms().get(handle);
    if (comm == nullptr) return refuse(kNcclInvalidArgument, "no such communicator");
    *device = comm->device->ordinal;
    return kNcclOk;
}

MUSTER_API const char* ncclGetErrorString(int status) {
    switch (status) {
        case kNcclOk: return "no error";
        case kNcclCuda: return "unhandled cuda error";
        case kNcclSystem: return "unhandled system error";
        case kNcclInvalidArgument: return "invalid argument";
        case kNcclInvalidUsage: return "invalid usage";
        case kNcclRemote: return "remote process exited or there was a network error";
        case kNcclInProgress: return "NCCL operation in progress";
        default: return "internal error";
    }
}
MUSTER_API const char* ncclGetLastError(void*) { return last_fault(); }

MUSTER_API int ncclGroupStart() {
    group.depth++;
    return kNcclOk;
}

MUSTER_API int ncclGroupEnd() {
    if (group.depth == 0) return refuse(kNcclInvalidUsage, "a group ends that was not started");
    if (--group.depth > 0) return kNcclOk;
    for (std::thread& thread : group.joins) thread.join();
    group.joins.clear();
    std::vector<Call> calls;
    calls.swap(group.calls);
    return launch_group(calls);
}

MUSTER_API int ncclAllReduce(const void* send, void* recv, size_t count, int type, int op, void* comm, void* stream) {
    return add(comm, Kind::AllReduce, send, recv, count, type, op, -1, stream);
}
MUSTER_API int ncclAllGather(const void* send, void* recv, size_t count, int type, void* comm, void* stream) {
    return add(comm, Kind::AllGather, send, recv, count, type, 0, -1, stream);
}
MUSTER_API int ncclReduceScatter(const void* send, void* recv, size_t count, int type, int op, void* comm, void* stream) {
    return add(comm, Kind::ReduceScatter, send, recv, count, type, op, -1, stream);
}
MUSTER_API int ncclBroadcast(const void* send, void* recv, size_t count, int type, int root, void* comm, void* stream) {
    return add(comm, Kind::Broadcast, send, recv, count, type, 0, root, stream);
}
MUSTER_API int ncclReduce(const void* send, void* recv, size_t count, int type, int op, int root, void* comm, void* stream) {
    return add(comm, Kind::Reduce, send, recv, count, type, op, root, stream);
}
MUSTER_API int ncclSend(const void* send, size_t count, int type, int peer, void* comm, void* stream) {
    return add(comm, Kind::Send, send, nullptr, count, type, 0, peer, stream);
}
MUSTER_API int ncclRecv(void* recv, size_t count, int type, int peer, void* comm, void* stream) {
    return add(comm, Kind::Recv, nullptr, recv, count, type, 0, peer, stream);
}
