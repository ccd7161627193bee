// Everything that processes say to one another: one table of operations and the fields of each
// message.
//
// A request names an operation and carries its fields and, for some, a payload; the reply has the
// same request number, a status, and on success fields and payload in turn. docs/protocol.md is
// made from this table. Fields are only added at the end, with a new protocol version. Plain
// values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"
#include "metadata/changes.h"
#include "metadata/values.h"
#include "store/attributes.h"

namespace imss::net {

// What a server needs to know about repeating a request whose reply was lost.
enum class Effect : std::uint8_t {
  kReads,       // nothing changes: may be sent again
  kRepeatable,  // changes, but doing it twice is the same as once
  kOnce,        // twice is not the same; the server keeps what came of it, and answers a repetition from there
  kTied,        // what it makes goes with the connection: not sent again, and undone when its answer is lost
};

struct Nothing {
  IMSS_FIELDS()
};

// --- control plane ---

struct HelloQuestion {
  std::uint16_t version = 0;
  std::uint64_t client = 0;  // a random number that stands for the asking process
  IMSS_FIELDS(version, client)
};
struct HelloAnswer {
  std::uint16_t version = 0;
  std::uint16_t status = 0;
  std::uint64_t token = 0;  // for requests on the data plane
  std::uint64_t nonce = 0;  // of the server's segment
  std::uint16_t port = 0;   // of the worker that this client shall use
  std::uint64_t epoch = 0;
  std::uint32_t beat_ms = 0;  // the client says "alive" at least that often
  // What the server keeps of this client, opens and outcomes of changes, is under this number. Another one than before:
  // the server took the client for gone, and nothing of it is left.
  std::uint64_t record = 0;
  bool attached = false;      // the server ends with its process and does not come back
  std::uint64_t clock_ms = 0;  // the server's clock, for deadlines
  IMSS_FIELDS(version, status, token, nonce, port, epoch, beat_ms, record, attached, clock_ms)
};
struct AliveQuestion {
  std::uint64_t token = 0;
  IMSS_FIELDS(token)
};
struct AliveAnswer {
  bool known = false;  // false: say hello again
  std::uint64_t epoch = 0;
  std::uint64_t clock_ms = 0;  // as in HelloAnswer
  IMSS_FIELDS(known, epoch, clock_ms)
};
struct StatusAnswer {
  std::string role;
  std::string state;
  std::uint64_t nonce = 0;
  std::uint64_t epoch = 0;
  std::uint32_t clients = 0;
  std::uint64_t requests = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::uint32_t process = 0;
  std::string segment;
  std::string sharing;  // rw, ro or none
  IMSS_FIELDS(role, state, nonce, epoch, clients, requests, capacity_bytes, used_bytes, process,
              segment, sharing)
};
struct StopQuestion {
  bool retire = false;  // remove the segment with the data
  IMSS_FIELDS(retire)
};
struct StopAnswer {
  std::uint16_t status = 0;
  IMSS_FIELDS(status)
};

// --- blocks ---

struct BlockFields {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  IMSS_FIELDS(dataset, block)
};
struct PutRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t version = 0;
  std::uint64_t expected_version = 0;
  std::uint64_t generation = 0;
  IMSS_FIELDS(dataset, block, version, expected_version, generation)
};
struct VersionReply {
  std::uint64_t version = 0;
  IMSS_FIELDS(version)
};
struct GetRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  // The bytes are to be copied before they are sent. Without, they go out from where they are stored, and when
  // somebody writes there meanwhile their checksum is wrong.
  bool copy = false;
  IMSS_FIELDS(dataset, block, offset, bytes, copy)
};
struct GetReply {
  bool present = false;
  IMSS_FIELDS(present)
};
struct WriteRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t generation = 0;
  IMSS_FIELDS(dataset, block, offset, block_bytes, generation)
};
struct CutRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t generation = 0;
  IMSS_FIELDS(dataset, block, offset, generation)
};
struct EraseRangeRequest {
  std::uint64_t dataset = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t before = 0;
  IMSS_FIELDS(dataset, first, last, before)
};
struct ClearRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  IMSS_FIELDS(dataset, block, offset, bytes)
};
struct AllocateRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t generation = 0;
  IMSS_FIELDS(dataset, block, offset, bytes, block_bytes, generation)
};
struct StoredRequest {
  std::uint64_t dataset = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  bool only_first = false;
  IMSS_FIELDS(dataset, first, last, only_first)
};
struct StoredReply {
  std::uint64_t bytes = 0;
  std::uint64_t first = 0;  // 0: none
  IMSS_FIELDS(bytes, first)
};
struct SeekRequest {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  bool hole = false;
  std::uint64_t block_bytes = 0;
  IMSS_FIELDS(dataset, block, offset, hole, block_bytes)
};
struct SpaceReply {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
  IMSS_FIELDS(capacity_bytes, used_bytes)
};
struct BlocksReply {
  std::vector<BlockFields> blocks;
  IMSS_FIELDS(blocks)
};

// --- inodes ---

struct DatasetRequest {
  std::uint64_t dataset = 0;
  IMSS_FIELDS(dataset)
};
struct InodeRequest {
  std::uint64_t dataset = 0;
  store::Attributes attributes;
  IMSS_FIELDS(dataset, attributes)
};
// Of a dataset, asked of a data server, or of a directory, asked of a metadata server.
struct ChangeAttributesRequest {
  std::uint64_t id = 0;
  store::AttributeChange change;
  IMSS_FIELDS(id, change)
};
struct AttributesReply {
  store::Attributes attributes;
  IMSS_FIELDS(attributes)
};
struct SizeRequest {
  std::uint64_t dataset = 0;
  std::uint64_t size = 0;
  IMSS_FIELDS(dataset, size)
};
struct NumberReply {
  std::uint64_t number = 0;
  IMSS_FIELDS(number)
};
struct TruncationFields {
  std::uint64_t size = 0;
  std::uint64_t old_size = 0;
  std::uint64_t generation = 0;
  bool pending = false;
  IMSS_FIELDS(size, old_size, generation, pending)
};
struct FinishTruncationRequest {
  std::uint64_t dataset = 0;
  TruncationFields truncation;
  IMSS_FIELDS(dataset, truncation)
};
struct LinkRequest {
  std::uint64_t dataset = 0;
  std::uint64_t link = 0;
  IMSS_FIELDS(dataset, link)
};
// Of a dataset or a directory.
struct XattrRequest {
  std::uint64_t id = 0;
  std::string name;  // empty: the names of all
  IMSS_FIELDS(id, name)
};
struct XattrReply {
  store::XattrValue value;
  IMSS_FIELDS(value)
};
struct ChangeXattrRequest {
  std::uint64_t id = 0;
  store::XattrChange change;
  IMSS_FIELDS(id, change)
};
struct LastReply {
  bool last = false;  // neither name nor opener is left: the asker drops the dataset
  IMSS_FIELDS(last)
};

// --- names ---

struct NameRequest {
  std::uint64_t parent = 0;
  std::string name;
  IMSS_FIELDS(parent, name)
};
struct EntryRequest {
  metadata::EntryInfo entry;
  IMSS_FIELDS(entry)
};
struct EntryReply {
  metadata::EntryInfo entry;
  IMSS_FIELDS(entry)
};
// A record that the server holds for its author until the author says what becomes of it.
struct RecordFields {
  std::uint64_t record = 0;
  metadata::EntryInfo entry;
  IMSS_FIELDS(record, entry)
};
struct PrepareReply {
  std::uint64_t record = 0;
  metadata::EntryInfo entry;
  bool inherits_group = false;  // the parent has the setgid bit, and this group
  std::uint32_t group = 0;
  IMSS_FIELDS(record, entry, inherits_group, group)
};
struct RecordRequest {
  std::uint64_t record = 0;
  IMSS_FIELDS(record)
};
struct MakeDirectoryRequest {
  std::uint64_t parent = 0;
  std::string name;
  metadata::Permissions permissions;
  std::uint64_t id = 0;  // that it shall have; 0: any
  IMSS_FIELDS(parent, name, permissions, id)
};
struct RenameRequest {
  std::uint64_t from_parent = 0;
  std::string from_name;
  std::uint64_t to_parent = 0;
  std::string to_name;
  bool no_replace = false;
  IMSS_FIELDS(from_parent, from_name, to_parent, to_name, no_replace)
};
struct ExchangeRequest {
  std::uint64_t from_parent = 0;
  std::string from_name;
  std::uint64_t to_parent = 0;
  std::string to_name;
  IMSS_FIELDS(from_parent, from_name, to_parent, to_name)
};
struct RenameReply {
  bool replaced = false;
  RecordFields victim;
  IMSS_FIELDS(replaced, victim)
};
struct DirectoryRequest {
  std::uint64_t directory = 0;
  IMSS_FIELDS(directory)
};
struct DirectoryReply {
  metadata::DirectoryInfo directory;
  IMSS_FIELDS(directory)
};
struct ListRequest {
  std::uint64_t directory = 0;
  std::uint64_t cookie = 0;
  std::uint32_t limit = 0;
  IMSS_FIELDS(directory, cookie, limit)
};
struct ListReply {
  bool more = false;
  std::vector<metadata::EntryInfo> entries;
  IMSS_FIELDS(more, entries)
};
struct StoreAttributesRequest {
  std::vector<metadata::InodeState> states;
  IMSS_FIELDS(states)
};
struct InodeStateReply {
  metadata::InodeState state;
  IMSS_FIELDS(state)
};
struct CountRequest {
  std::uint32_t count = 0;
  IMSS_FIELDS(count)
};

// --- changes of names over several servers ---

struct ChangeRequest {
  std::uint64_t change = 0;
  IMSS_FIELDS(change)
};
struct ClaimNameRequest {
  metadata::NameClaim claim;
  IMSS_FIELDS(claim)
};
struct ClaimNameReply {
  metadata::ClaimedName claimed;
  IMSS_FIELDS(claimed)
};
struct ClaimDirectoryRequest {
  metadata::DirectoryClaim claim;
  IMSS_FIELDS(claim)
};
struct DecideChangeRequest {
  metadata::Decision decision;
  IMSS_FIELDS(decision)
};
struct ChangeOutcomeRequest {
  std::uint64_t change = 0;
  bool give_up = false;
  IMSS_FIELDS(change, give_up)
};
struct ChangeOutcomeReply {
  metadata::ChangeOutcome outcome = metadata::ChangeOutcome::kAborted;
  IMSS_FIELDS(outcome)
};
struct FinishChangeRequest {
  std::uint64_t change = 0;
  bool committed = false;
  IMSS_FIELDS(change, committed)
};

// --- instances and servers ---

struct InstanceRequest {
  metadata::InstanceInfo instance;
  metadata::Permissions root;  // of its root directory
  IMSS_FIELDS(instance, root)
};
struct InstanceReply {
  metadata::InstanceInfo instance;
  IMSS_FIELDS(instance)
};
struct InstanceNameRequest {
  std::string name;
  IMSS_FIELDS(name)
};
struct InstancesReply {
  std::vector<metadata::InstanceInfo> instances;
  IMSS_FIELDS(instances)
};
struct LeaveInstanceRequest {
  std::string name;
  std::uint32_t server = 0;
  IMSS_FIELDS(name, server)
};
struct ServerRequest {
  metadata::ServerInfo server;
  IMSS_FIELDS(server)
};
struct ServerIdRequest {
  std::uint32_t server = 0;
  IMSS_FIELDS(server)
};
struct ServersReply {
  std::vector<metadata::ServerInfo> servers;
  IMSS_FIELDS(servers)
};

// --- the cluster map ---

struct MapReply {
  metadata::ClusterMap map;
  IMSS_FIELDS(map)
};
struct JoinMapRequest {
  metadata::MapServer server;
  std::uint32_t count = 0;  // metadata servers of its deployment
  IMSS_FIELDS(server, count)
};
// From a server to all that listen.
struct EpochAnnouncement {
  std::uint64_t epoch = 0;
  IMSS_FIELDS(epoch)
};

// name, number, fields of the request, fields of the reply, effect, what it does
// clang-format off
#define IMSS_CONTROL_OPERATIONS(X)                                                                                  \
  X(Hello,          1, HelloQuestion,   HelloAnswer,  kReads, "A client asks for a worker and a session token")     \
  X(Alive,          2, AliveQuestion,   AliveAnswer,  kReads, "A client is still there")                            \
  X(ServerStatus,   3, Nothing,         StatusAnswer, kReads, "What the server is doing")                           \
  X(Stop,           4, StopQuestion,    StopAnswer,   kRepeatable, "Ends the server")

#define IMSS_DATA_OPERATIONS(X)                                                                                     \
  X(Put,              32, PutRequest,        VersionReply,    kOnce, "Replaces a whole block by the payload")       \
  X(Get,              33, GetRequest,        GetReply,        kReads, "Reads a range of a block into the payload")  \
  X(Write,            34, WriteRequest,      Nothing,         kOnce, "Writes the payload into a block, in place")   \
  X(Cut,              35, CutRequest,        Nothing,         kRepeatable, "Truncation cuts a block")               \
  X(Erase,            36, BlockFields,       Nothing,         kRepeatable, "Removes a block")                       \
  X(EraseRange,       37, EraseRangeRequest, Nothing,         kRepeatable, "Removes data blocks of a dataset")      \
  X(Version,          38, BlockFields,       VersionReply,    kReads, "Version of a block, 0 when absent")          \
  X(BeginCopies,      39, BlockFields,       Nothing,         kRepeatable, "Further copies of a block are on their way") \
  X(EndCopies,        40, Nothing,           Nothing,         kRepeatable, "They are written")                      \
  X(TornBlocks,       41, Nothing,           BlocksReply,     kReads, "Blocks whose copies may differ")             \
  X(Repaired,         42, BlockFields,       Nothing,         kRepeatable, "The copies of a block are equal again") \
  X(CreateInode,      43, InodeRequest,      Nothing,         kOnce, "Makes an inode")                              \
  X(GetAttributes,    44, DatasetRequest,    AttributesReply, kReads, "What an inode says")                         \
  X(ChangeAttributes, 45, ChangeAttributesRequest, Nothing,   kOnce, "Changes mode, owner and times, as far as named") \
  X(ExtendSize,       46, SizeRequest,       Nothing,         kRepeatable, "Grows the size if it is smaller")       \
  X(AnnounceBlock,    47, BlockFields,       Nothing,         kRepeatable, "A block of a growing dataset may exist from now on") \
  X(ReserveAppend,    48, SizeRequest,       NumberReply,     kOnce, "Reserves bytes at the end; returns where")    \
  X(BeginTruncation,  49, SizeRequest,       TruncationFields, kOnce, "Sets the size, in a new generation when it shrinks") \
  X(PendingTruncation, 50, DatasetRequest,   TruncationFields, kReads, "The truncation that is not finished")       \
  X(FinishTruncation, 51, FinishTruncationRequest, Nothing,   kRepeatable, "The blocks beyond are gone")            \
  X(Open,             52, DatasetRequest,    Nothing,         kOnce, "The client has the dataset open once more")   \
  X(Close,            53, DatasetRequest,    LastReply,       kOnce, "The client has it open once less")            \
  X(AddLink,          54, LinkRequest,       Nothing,         kRepeatable, "The dataset has one more name")         \
  X(EraseInode,       55, DatasetRequest,    Nothing,         kRepeatable, "Removes an inode")                      \
  X(Settle,           56, Nothing,           Nothing,         kRepeatable, "Applies what the dead had committed")   \
  X(RemoveLink,       57, LinkRequest,       LastReply,       kRepeatable, "The dataset has one name less")        \
  X(ReadXattr,        58, XattrRequest,      XattrReply,      kReads, "The value of an extended attribute or the names of all") \
  X(ChangeXattr,      59, ChangeXattrRequest, Nothing,        kOnce, "Sets or removes an extended attribute")        \
  X(Stored,           60, StoredRequest,     StoredReply,     kReads, "What is stored of data blocks of a dataset") \
  X(SeekBlock,        61, SeekRequest,       NumberReply,     kReads, "The next byte of a block that has data, or has none") \
  X(NoteAllocated,    62, SizeRequest,       Nothing,         kRepeatable, "Keeps what a dataset was counted to take") \
  X(Clear,            63, ClearRequest,      Nothing,         kOnce, "Makes a range of a block read as zeros")      \
  X(Allocate,         64, AllocateRequest,   Nothing,         kRepeatable, "Gives a range of a block memory")       \
  X(Space,            65, Nothing,           SpaceReply,      kReads, "Capacity of the server and what is used of it")

#define IMSS_METADATA_OPERATIONS(X)                                                                                 \
  X(NewIds,           96, CountRequest,      NumberReply,     kRepeatable, "Reserves ids; returns the first")       \
  X(Lookup,           97, NameRequest,       EntryReply,      kReads, "The entry of a name")                        \
  X(Prepare,          98, EntryRequest,      PrepareReply,    kTied, "Prepares a name that is not visible yet")     \
  X(Publish,          99, RecordRequest,     EntryReply,      kOnce, "Makes a prepared name visible")               \
  X(Abandon,         100, RecordRequest,     Nothing,         kRepeatable, "Forgets a prepared name")                     \
  X(MakeDirectory,   101, MakeDirectoryRequest, NumberReply,  kOnce, "Makes a directory; returns its id")           \
  X(RemoveName,      102, NameRequest,       RecordFields,    kOnce, "Removes the name of a dataset")               \
  X(Forget,          103, RecordRequest,     Nothing,         kRepeatable, "The data of a removed name is gone too")      \
  X(LeaveToReaper,   104, RecordRequest,     Nothing,         kRepeatable, "The data of a removed name could not be removed") \
  X(RemoveDirectory, 105, NameRequest,       Nothing,         kOnce, "Removes an empty directory")                  \
  X(Rename,          106, RenameRequest,     RenameReply,     kOnce, "Moves a name")                                \
  X(GetDirectory,    107, DirectoryRequest,  DirectoryReply,  kReads, "What a directory says")                      \
  X(List,            108, ListRequest,       ListReply,       kReads, "Entries of a directory after a cookie")      \
  X(CreateInstance,  109, InstanceRequest,   Nothing,         kOnce, "Makes an instance")                           \
  X(GetInstance,     110, InstanceNameRequest, InstanceReply, kReads, "An instance by name")                        \
  X(ListInstances,   111, Nothing,           InstancesReply,  kReads, "All instances")                              \
  X(LeaveInstance,   112, LeaveInstanceRequest, InstanceReply, kOnce, "Takes a server out of an instance")          \
  X(RemoveInstance,  113, InstanceNameRequest, Nothing,       kOnce, "Removes an empty instance")                   \
  X(JoinServer,      114, ServerRequest,     NumberReply,     kRepeatable, "Adds a server; returns its id")         \
  X(LeaveServer,     115, ServerIdRequest,   Nothing,         kRepeatable, "Removes a server's record")             \
  X(ListServers,     116, Nothing,           ServersReply,    kReads, "All servers")                                \
  X(BeginChange,     117, Nothing,           NumberReply,     kRepeatable, "Begins a change over several servers; returns its id") \
  X(ClaimName,       118, ClaimNameRequest,  ClaimNameReply,  kRepeatable, "A change is about to make or replace a name") \
  X(ClaimDirectory,  119, ClaimDirectoryRequest, Nothing,     kRepeatable, "A change is about to make, remove or move a directory") \
  X(DecideChange,    120, DecideChangeRequest, Nothing,       kRepeatable, "Commits a change at its coordinator")   \
  X(ChangeOutcome,   121, ChangeOutcomeRequest, ChangeOutcomeReply, kRepeatable, "What became of a change; aborts one that is given up") \
  X(FinishChange,    122, FinishChangeRequest, RenameReply,   kRepeatable, "Applies or undoes what a change has claimed") \
  X(ForgetChange,    123, ChangeRequest,     Nothing,         kRepeatable, "All participants of a change have finished") \
  X(StoreAttributes, 124, StoreAttributesRequest, Nothing,    kRepeatable, "What inodes say, for the metadata file") \
  X(LastInode,       125, DatasetRequest,    InodeStateReply, kReads, "What the inode of a dataset said last") \
  X(GetMap,          126, Nothing,           MapReply,        kReads, "The cluster map")                            \
  X(JoinMap,         127, JoinMapRequest,    NumberReply,     kRepeatable, "A metadata server serves, or is gone; returns the map's epoch") \
  X(ChangeDirectory, 128, ChangeAttributesRequest, Nothing,   kOnce, "Changes mode, owner and times of a directory, as far as named") \
  X(ReadDirectoryXattr, 129, XattrRequest,   XattrReply,      kReads, "As ReadXattr, of a directory")                \
  X(ChangeDirectoryXattr, 130, ChangeXattrRequest, Nothing,   kOnce, "As ChangeXattr, of a directory")            \
  X(ExchangeNames,   131, ExchangeRequest,   Nothing,         kOnce, "Each of two names gets what the other one had")
// clang-format on

enum class Operation : std::uint16_t {
  kNone = 0,
#define IMSS_ENUMERATE(name, number, Request, Reply, effect, text) k##name = number,
  IMSS_CONTROL_OPERATIONS(IMSS_ENUMERATE) IMSS_DATA_OPERATIONS(IMSS_ENUMERATE)
      IMSS_METADATA_OPERATIONS(IMSS_ENUMERATE)
#undef IMSS_ENUMERATE
};

// The messages of an operation.
template <Operation>
struct MessagesOf;
#define IMSS_MESSAGES(name, number, RequestType, ReplyType, effect_value, text) \
  template <>                                                                   \
  struct MessagesOf<Operation::k##name> {                                       \
    using Request = RequestType;                                                \
    using Reply = ReplyType;                                                    \
    static constexpr Effect effect = Effect::effect_value;                      \
    static constexpr std::string_view kName = #name;                            \
  };
IMSS_CONTROL_OPERATIONS(IMSS_MESSAGES)
IMSS_DATA_OPERATIONS(IMSS_MESSAGES)
IMSS_METADATA_OPERATIONS(IMSS_MESSAGES)
#undef IMSS_MESSAGES

}  // namespace imss::net
