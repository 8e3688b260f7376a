// The NCCL double's inside: communicators, the calls on them, and the memory that the ranks share.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "stream.h"

namespace muster {

constexpr int kNcclOk = 0, kNcclCuda = 1, kNcclSystem = 2, kNcclInvalidArgument = 4, kNcclInvalidUsage = 5,
              kNcclRemote = 6, kNcclInProgress = 7;
constexpr int kMaxRanks = 64;

struct UniqueId {
    char bytes[128];
};

enum class Kind : int { AllReduce, AllGather, ReduceScatter, Broadcast, Reduce, Send, Recv };

// A call as its ranks have to agree on it. `peer` is the root, or the other side of a send.
struct Record {
    unsigned number;
    Kind kind;
    int type, op, peer;
    unsigned long long count;
};
std::string text_of(const Record& record);
size_t bytes_of_type(int type);

// Why a call did not come to its end; thrown out of waits.
struct Broken {
    int status;
    std::string why;
    // The ranks called different things: a mistake of the program and not of the world.
    bool disagreement;
};

// One rank's place in the shared memory. All zero is the state before it joined.
struct Slot {
    std::atomic<int> pid, n_ranks, device;
    std::atomic<unsigned> joined, arrived, aborted;
    Record record;
};

// A letter box from one rank to another.
struct Mailbox {
    static constexpr size_t kBytes = 64 << 10;
    std::atomic<unsigned> written, read;
    int type;
    unsigned long long count;
    char data[kBytes];
};

// The memory of one communicator, mapped by each of its ranks.
class Shared {
public:
    static constexpr size_t kChunk = 256 << 10;
    Shared(const UniqueId& id, int n_ranks, int rank);
    ~Shared();

    // Returns when all ranks have joined.
    void join(int device, const std::atomic<bool>& aborted);
    // Returns when all ranks have come here as often as this one.
    void meet(const std::atomic<bool>& aborted, const std::string& what);
    // Throws where rank `other` will never come, or this one gave up.
    void check_peer(int other, const std::atomic<bool>& aborted, double since, const std::string& what);
    void leave();

    Slot& slot(int rank) { return slots_[rank]; }
    char* chunk(int rank) { return data_ + static_cast<size_t>(rank) * kChunk; }
    Mailbox& mailbox(int from, int to) { return mailboxes_[from * n_ranks_ + to]; }
    int n_ranks() const { return n_ranks_; }
    int rank() const { return rank_; }

private:
    std::string path_;
    int n_ranks_, rank_;
    size_t size_;
    void* at_;
    Slot* slots_;
    char* data_;
    Mailbox* mailboxes_;
    unsigned arrivals_ = 0;
};

struct Comm {
    Device* device = nullptr;
    int rank = 0, n_ranks = 0;
    std::unique_ptr<Shared> shared;
    std::atomic<bool> aborted{false};
    std::atomic<int> state{kNcclInProgress};
    std::atomic<int> in_flight{0};
    unsigned calls = 0;
    OpRef last;
};
using CommRef = std::shared_ptr<Comm>;

struct Call {
    CommRef comm;
    Record record;
    const void* send;
    void* recv;
    StreamRef stream;
};

// Runs the calls of one communicator's group: sends and receives at once, then collectives in order.
void run_calls(Comm& comm, const std::vector<Call>& calls);
void run_collective(Comm& comm, const Call& call);
void run_transfers(Comm& comm, const std::vector<Call>& calls);
// `a` becomes `a op b`, element by element.
void combine(int type, int op, char* a, const char* b, size_t count);
void divide(int type, char* a, size_t count, int by);

void wake(std::atomic<unsigned>& word);
void sleep_on(std::atomic<unsigned>& word, unsigned value);

}  // namespace muster
