// IMSS: an in-memory storage system for HPC and AI jobs. The C interface; C99 and C++.
//
// What it is. An *instance*, named `imss://NAME`, is a store made of the memory of one or more
// *data servers*; a *metadata server* keeps its names. Servers are *attached* (threads inside the
// processes of the application, started by hercules_init) or *detached* (daemons). An instance
// holds *datasets*: named sequences of equally sized *blocks*, `imss://NAME/path/of/dataset`. Data
// blocks are numbered from 1 on; block 0 is the inner metadata (struct imss_inner_metadata).
// Servers and clients may be on different nodes: what is on the caller's node it does itself in
// shared memory, the rest it asks for by messages.
//
// Order of calls.
//   attached:  hercules_init, stat_init, init_imss(ATTACHED), ... datasets ...,
//              release_imss(CLOSE_ATTACHED), stat_release, hercules_release
//   detached:  stat_init, open_imss (or init_imss(DETACHED), which starts the daemons),
//              ... datasets ..., release_imss(DISCONNECT or CLOSE_DETACHED), stat_release
//   a dataset: create_dataset or open_dataset, get_data / set_data ..., release_dataset
//
// Attached servers of several nodes. The ranks of a job form one instance wherever they are, by the
// same calls; each serves the others while it computes, on threads of its own that sleep when there
// is nothing to do.
//   Where the names are   stat_init takes the first host of its host file; without one that of the
//                         file which IMSS_METADATA_HOSTFILE (or METADATA_HOSTFILE in imss.conf)
//                         names; without that what the launcher of the job knows: under mpirun of
//                         MPICH the rank that deploys the metadata server tells it to the launcher,
//                         under Open MPI it is the node of rank 0 (both between MPI_Init and
//                         MPI_Finalize), under Slurm's srun the first node of the step. Otherwise
//                         it is this node. A host file names the node of the rank that deploys;
//                         one with `localhost` is for jobs with an instance on each node.
//   When ranks listen     when IMSS_ADDRESS is set, when the metadata server is on another node,
//                         and when mpirun or srun started ranks on several nodes; without a
//                         launcher also when a host file has another name than localhost for this
//                         node. Otherwise no port is opened and no network library is loaded.
//   On which address      IMSS_ADDRESS (a name or address of this node, * for all); without it all
//                         with keys (IMSS_KEY_FILE), and without keys only the address by which the
//                         node of the metadata server is reached or, there, that of its name; all
//                         where that name means only a loopback address. Who reaches a port
//                         without keys is trusted.
//   On which ports        the metadata server on its own, data servers on server_port, server_port
//                         + 1, ... by the rank's number on its node as the launcher tells it (or
//                         else by `rank`); the port of the metadata server is left out.
// A rank that dies costs the others EIO for what it stored, at once; a whole node that is silent
// the same after two seconds. A rank that is stopped is silent, too, until it goes on.
//
// Results. Unless a call says otherwise it returns 0 on success and -1 on failure with `errno` set;
// imss_last_error() then gives a sentence that says what to do. Outputs are written only on
// success. `errno` means something only after a failure. Every misuse (an id that was never given
// out or was released, a block out of range, a null pointer, a size that does not fit, a call
// before initialisation, a second release) is an error, never a crash. Values that many calls
// share:
//   EINVAL        an argument can never work: null, out of range, bad URI, unknown policy
//   ENAMETOOLONG  a URI longer than 4096 bytes or a name longer than 255; nothing is truncated
//   ENOTCONN      stat_init has not been called, or this process has not opened the instance
//   EBADF         the id does not name an open dataset of this process
//   ENOENT        there is no such name
//   ENOTDIR       a part of the path is a dataset
//   EISDIR        the name is a directory
//   ENOSPC        no room within the capacity; nothing was changed, reads and removals go on
//   ETIMEDOUT     the deadline passed; nothing was applied, unless the server is on another node,
//                 where a change may have been. It does not begin a change later than that
//   EIO           the data or the server that held them is gone, or it is not known whether a
//                 change was applied (imss_last_error tells which); or, for a change of what has
//                 several copies, a server that has one of them is out of reach (nothing is done)
//   EACCES        permission denied
//   ENOMEM        the process has no memory left
//
// URIs. `imss://INSTANCE/path`. Names are 1 to 255 bytes, any byte but `/` and NUL. Repeated and
// trailing slashes and `.` do not count, `..` is refused (EINVAL).
//
// Threads. Every call may be made from any thread, on different datasets and on the same one. Calls
// on different blocks do not wait for each other. A release waits for the calls that are under way
// on what it releases; calls that come later fail with EBADF or ENOTCONN. No call is safe in a
// signal handler. After fork() the child may go on as a client with the ids it inherited; attached
// servers stay with the parent.
//
// Deadline. No call blocks longer than the deadline (30 seconds, see imss_set_deadline_ms), but for
// the moment it takes to tell the servers that it has given up.
//
// Short constant names (NONE, ATTACHED, DISCONNECT, ...) are defined as users know them; define
// IMSS_NO_SHORT_NAMES before the include to have only those that begin with IMSS_.
#ifndef IMSS_IMSS_H_
#define IMSS_IMSS_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__GNUC__)
#define IMSS_API __attribute__((visibility("default")))
#else
#define IMSS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Constants.

enum {
  // Deployment of an instance.
  IMSS_DETACHED = 0,
  IMSS_ATTACHED = 1,

  // What release_imss does.
  IMSS_DISCONNECT = 0,
  IMSS_CLOSE_DETACHED = 1,
  IMSS_CLOSE_ATTACHED = 2,

  // Number of copies of every block, the first included.
  IMSS_COPIES_NONE = 1,
  IMSS_COPIES_DRM = 2,
  IMSS_COPIES_TRM = 3,

  // What get_type returns.
  IMSS_TYPE_NONE = 0,
  IMSS_TYPE_INSTANCE = 1,
  IMSS_TYPE_DATASET = 2,

  // The operation that get_data_location asks about.
  IMSS_LOCATION_GET = 0,
  IMSS_LOCATION_SET = 1,

  // Limits.
  IMSS_URI_BYTES_MAX = 4096,
  IMSS_NAME_BYTES_MAX = 255,
  IMSS_BLOCK_KIB_MAX = 65536,      // a block is 1 KiB to 64 MiB
  IMSS_BLOCK_LIST_MAX = 1048576,   // items in one get_datav or set_datav
  IMSS_INNER_METADATA_BYTES = 256  // what get_data of block 0 writes
};

// Structures.

// What stat_imss tells about an instance. Filled by stat_imss, emptied by free_imss.
typedef struct imss_info {
  char* uri_;            // `imss://NAME`
  char type;             // 'I'
  uint32_t deployment;   // IMSS_ATTACHED or IMSS_DETACHED
  char** ips;            // num_storages host names, one for each data server, in server order
  int32_t* status;       // num_storages words: 1 the server serves, 0 it does not
  int32_t num_storages;  // number of data servers
  int32_t num_active_storages;  // how many of them serve
  uint16_t conn_port;           // well-known port of the data servers
  uint16_t meta_port;           // well-known port of the metadata server
  uint64_t capacity_bytes;      // memory the data servers may use, all together
  uint64_t used_bytes;          // memory they use now
  uint64_t reserved[4];         // 0
} imss_info;

// What stat_dataset tells about a dataset or a directory. free_dataset empties it.
typedef struct dataset_info {
  char* uri_;              // the URI it has now
  char* original_name;     // the URI it was created with, also after renames
  char* policy;            // RR, BUCKETS, HASH, CRC16b, CRC64b, LOCAL or HRW; "" for a directory
  char* link;              // target of a symbolic link, otherwise NULL
  char type;               // 'L' for policy LOCAL, otherwise 'D'
  int32_t is_directory;    // 1 for a directory, otherwise 0
  int32_t is_link;         // 1 for a symbolic link, otherwise 0
  int32_t num_data_elem;   // number of data blocks; they are numbered 1 to num_data_elem
  int32_t data_elem_size;  // KiB in each block
  int32_t repl_factor;     // copies of each block: 1, 2 or 3
  int32_t n_servers;       // number of servers the blocks are spread over
  uint32_t mode;           // as st_mode: type and permission bits
  int64_t size;            // bytes of content; all blocks unless create_dataset_opt said less
  uint64_t dataset_id;     // unique in the instance, never used again
  uint64_t reserved[4];    // 0
} dataset_info;

// Block 0 of a dataset, as get_data(id, 0, ...) writes it. Little-endian, fixed layout.
typedef struct imss_inner_metadata {
  uint32_t layout_version;    // 1
  uint32_t type;              // the type bits of `mode` alone (S_IFREG, S_IFDIR, S_IFLNK)
  uint64_t dataset_id;        // as in dataset_info
  uint64_t size;              // bytes, as in dataset_info
  uint64_t block_size_bytes;  // bytes in each data block
  uint64_t block_count;       // number of data blocks
  uint64_t version;           // grows when the inner metadata change; not with every set_data
  uint32_t mode;              // as st_mode
  uint32_t uid;
  uint32_t gid;
  uint32_t link_count;
  int64_t access_time_ns;        // nanoseconds since 1970-01-01 UTC; times never go back
  int64_t modification_time_ns;  // set at the latest when an id that wrote is released
  int64_t change_time_ns;
  int64_t creation_time_ns;
  uint8_t reserved[160];  // 0
} imss_inner_metadata;

// How create_dataset_opt makes a dataset. Set all to 0, then struct_size, then what you need.
typedef struct imss_dataset_options {
  size_t struct_size;         // sizeof(imss_dataset_options)
  const char* policy;         // as in create_dataset; NULL: RR
  uint64_t block_count;       // number of data blocks, 1 to 2147483647
  uint64_t block_size_bytes;  // a multiple of 1024, at most 64 MiB
  uint64_t size_bytes;        // of the content, at most all blocks; 0: all blocks
  int32_t repl_factor;        // 1 to 3; 0: 1
  int32_t n_servers;          // servers to spread the blocks over; 0: all
  uint32_t mode;              // permission bits; 0: 0644
} imss_dataset_options;

// One item of get_datav or set_datav.
typedef struct imss_block_io {
  int32_t block;         // which block, 1 to num_data_elem
  int32_t reserved;      // 0
  void* buffer;          // where to (get_datav) or where from (set_datav, which does not change it)
  size_t size;           // bytes; 0: the whole block
  off_t offset;          // byte in the block where the item begins; 0 when size is 0
  int32_t result_errno;  // written by the call: 0 or the errno of this item
  int32_t reserved2;     // 0
} imss_block_io;

// A pinned block, made by imss_view and ended by imss_view_release.
typedef struct imss_block_view {
  const void* data;    // the block's bytes in the store itself; never to be written to
  size_t size;         // bytes at `data`: the whole block
  uint64_t version;    // another one after every whole-block set
  uint64_t opaque[4];  // of the library
} imss_block_view;

// An operation that was started by iget_data or iset_data: a ticket, not an address.
typedef struct imss_request imss_request;

// Process: attached servers.

// Makes this process a host: starts its attached data server and, if asked, the metadata server.
//   rank                  this process among those of the application, and no other's
//   backend_storage_size  bytes of memory that everything IMSS keeps in this process may use,
//                         metadata included; at least 16 MiB, with the metadata server 32 MiB;
//                         never exceeded
//   server_port           well-known port of the data servers; all ranks give the same
//   deploy_metadata       not 0: this process also runs the metadata server (one rank does)
//   metadata_port         well-known port of the metadata server; all ranks give the same
//   metadata_buff_size    KiB of the above for the metadata server, 16 MiB at least also for less;
//                         0: an eighth
//   metadata_file         file that keeps names, instances, policies and what stat_dataset tells for
//                         a later deployment; created when missing. NULL: nothing is kept.
//                         Only with deploy_metadata
// The server joins an instance when init_imss(ATTACHED) forms one. Clients of detached servers do
// not call hercules_init.
// Errors: EALREADY called before and not released; EINVAL, also for a configured host file that has
// the metadata server on another node than the rank that deploys it; EBUSY the node has a metadata
// server with this port already, or a rank with this number, or another program has the port;
// ENOSPC the node has not that much memory to
// give; EUCLEAN the metadata file is damaged (the sentence gives the offset); EPROTO another
// version wrote it.
IMSS_API int32_t hercules_init(uint32_t rank, uint64_t backend_storage_size, uint16_t server_port,
                               int32_t deploy_metadata, uint16_t metadata_port,
                               uint64_t metadata_buff_size, const char* metadata_file);

// Stops the servers of this process and gives their memory back; what they stored is gone.
// Instances and the metadata connection that are still open are released first, as by release_imss
// and stat_release. Ranks may call it in any order; a rank that still uses data of this one gets
// EIO.
// Errors: ENOTCONN hercules_init was not called or was released already.
IMSS_API int32_t hercules_release(void);

// Metadata service.

// Connects this process to the metadata service. Waits for the metadata servers to come up, at most
// until the deadline, so ranks need no order among themselves.
//   stat_hostfile     one host per line, HOST or HOST:PORT, `#` begins a comment; NULL: what the
//                     configuration or the launcher says, see above, or else this node
//   port              the well-known port of the metadata servers; those of one host count on from it
//   num_stat_servers  how many metadata servers there are, and lines of the file that count
//   rank              as in hercules_init; any number for a client of detached servers
// Errors: EALREADY connected already; EINVAL also when the service has another number of servers;
// ENOENT no such file, or fewer hosts in it; ENOTSUP several servers where this rank runs one, or
// another node without the network module; EBUSY a port that this rank has to listen on is taken;
// ETIMEDOUT no metadata server answers at this port.
IMSS_API int32_t stat_init(const char* stat_hostfile, uint64_t port, int32_t num_stat_servers,
                           uint32_t rank);

// Ends the connection. Datasets that are still open are released and instances disconnected.
// Errors: ENOTCONN not connected.
IMSS_API int32_t stat_release(void);

// Lists a directory (an instance's root is one).
//   uri      the directory
//   buffer   receives one malloc'ed buffer with all strings
//   items    receives a malloc'ed array of pointers into it: full URIs, each ended by NUL, those
//            of directories by '/'. Element 0 is the directory itself; the others are in no order
// The caller frees both: free(items); free(buffer).
// Returns the number of items, 1 for an empty directory, or UINT32_MAX ((uint32_t)-1) on failure.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, ENOENT, ENOTDIR the URI names a dataset.
IMSS_API uint32_t get_dir(const char* uri, char** buffer, char*** items);

// Instances.

// Deploys an instance and opens it in this process.
//   imss_uri       `imss://NAME`
//   hostfile       DETACHED: one host name per line for the data servers; used again from its first
//                  line when it has fewer lines than n_servers; NULL: this node. ATTACHED: the
//                  servers are where their ranks are; a file must be one
//   meta_hostfile  the same for the metadata server, which stat_init has found already
//   n_servers      how many data servers form the instance, at least 1
//   conn_port      the data servers' well-known port
//   buff_size      DETACHED: KiB that each data server may use; 0: three quarters of the node's
//                  memory divided by n_servers. ATTACHED: not used, see hercules_init
//   deployment     ATTACHED: the servers are those that n_servers ranks made in hercules_init with
//                  these ports; the call waits for them, at most until the deadline. Every rank
//                  may call it, or one rank does and the others call open_imss: the first call
//                  forms the instance, the others open it.
//                  DETACHED: starts n_servers daemons and waits until they serve
//   binary_path    DETACHED: path of the `server` program; NULL: the installed one, then PATH.
//                  ATTACHED: not used
//   meta_port      the metadata server's well-known port, as in stat_init
// Returns 0 or -1.
// Errors: EINVAL; ENAMETOOLONG; ENOTCONN stat_init first (ATTACHED: and hercules_init); EALREADY
// this process has it open; EEXIST an instance of this name exists (DETACHED), or with other
// servers (ATTACHED); ENOENT a hostfile or the program is missing; ENOTSUP a host that is not
// this node (DETACHED: mount.imss starts daemons on other nodes); EBUSY the port serves another instance; ENOSPC; ETIMEDOUT servers did not come up.
IMSS_API int32_t init_imss(const char* imss_uri, const char* hostfile, const char* meta_hostfile,
                           int32_t n_servers, uint16_t conn_port, uint64_t buff_size,
                           uint32_t deployment, const char* binary_path, uint16_t meta_port);

// Opens an instance that is deployed.
// Returns 0, -1 on failure, or -2 when this process has it open already (errno EALREADY).
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, ENOENT no such instance, EIO its servers are gone,
// EPROTO its servers are of an incompatible version, EACCES, ETIMEDOUT.
IMSS_API int32_t open_imss(const char* imss_uri);

// Ends this process's use of an instance. Datasets of it that are still open are released.
//   release_op  DISCONNECT: nothing else; the instance lives on
//               CLOSE_DETACHED: stops the instance's data servers for everybody; its data and
//               names are gone
//               CLOSE_ATTACHED: takes this rank's server and its data out of the instance; the
//               last rank removes the instance. Call it when no other rank needs the data
// Errors: EINVAL, among others when release_op does not fit the deployment; ENAMETOOLONG; ENOTCONN
// this process has not opened it, or released it already.
IMSS_API int32_t release_imss(const char* imss_uri, uint32_t release_op);

// Tells about an instance. It need not be open.
// Returns 0 no such instance (errno ENOENT, *info untouched), 1 found by the metadata service, 2
// found and open in this process, -1 on failure. After 1 or 2 call free_imss.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN.
IMSS_API int32_t stat_imss(const char* imss_uri, imss_info* info);

// Frees what stat_imss put into the structure (not the structure) and sets it to zeros, so that a
// second call does nothing.
// Errors: EINVAL null.
IMSS_API int32_t free_imss(imss_info* info);

// The URI of an instance that this process has open or, when it has none, of one that is deployed
// on this node. Malloc'ed, the caller frees it; NULL when there is none (errno ENOENT) or on
// failure. Needs no stat_init.
IMSS_API char* get_deployed(void);

// The URI of the instance that is served at `host:port`, the well-known port of data servers.
// Malloc'ed, the caller frees it; NULL when there is none. Needs no stat_init.
// Errors: EINVAL not `host:port`; ENOENT nothing is served there; ENOTSUP a host that is not this
// node.
IMSS_API char* get_deployed_(const char* endpoint);

// Datasets and directories.

// Creates a dataset and opens it. Directories on its path that are missing are created. All blocks
// are holes at first: they read as zeros and use no memory.
//   uri             `imss://NAME/path`; the instance must be open in this process
//   policy          how blocks are spread over servers: "RR" round robin, "BUCKETS" contiguous
//                   runs, "HASH", "CRC16b", "CRC64b" by hash, "LOCAL" on the writer's server,
//                   "HRW" by weighted rendezvous (little movement when servers come and go)
//   num_data_elem   number of data blocks, at least 1
//   data_elem_size  KiB in each block, 1 to 65536; all blocks together hold less than 256 TiB
//   repl_factor     copies of each block: NONE 1, DRM 2, TRM 3; at most the number of servers used
//   n_servers       servers to spread the blocks over, at most those of the instance; 0: all
// Returns an id >= 0 or -1. Ids belong to the process; an id that was released is not given out
// again for as long as possible, so that its use is noticed (EBADF).
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, EEXIST the name is taken, ENOTDIR, ENOSPC, EMFILE too
// many datasets are open, EACCES.
IMSS_API int32_t create_dataset(const char* uri, const char* policy, int32_t num_data_elem,
                                int32_t data_elem_size, int32_t repl_factor, int32_t n_servers);

// The same with a structure.
// Errors: as create_dataset; EINVAL also for a struct_size that is too small.
IMSS_API int32_t create_dataset_opt(const char* uri, const imss_dataset_options* options);

// Opens a dataset; it may be open many times, each with an id of its own.
// Returns an id >= 0 or -1.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, ENOENT, ENOTDIR, EISDIR, EIO its data are gone, EMFILE,
// EACCES, ELOOP too many symbolic links.
IMSS_API int32_t open_dataset(const char* uri);

// Closes an id. Waits for operations under way on it. Views that were taken through it stay valid.
// The last close of a deleted dataset frees its blocks.
// Errors: EBADF, also for a second release.
IMSS_API int32_t release_dataset(int32_t id);

// Removes the name at once. The blocks go when the last id that is open in any process is
// released; those on a server that is out of reach go when it is back.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, ENOENT, ENOTDIR, EISDIR use imss_rmdir, EACCES.
IMSS_API int32_t delete_dataset(const char* uri);

// Tells about a dataset or a directory. Symbolic links are not followed. Of a dataset whose data
// are gone it tells what is known from the metadata file.
// Returns 0 no such name (errno ENOENT, *info untouched), 1 found by the metadata service, 2 found
// and open in this process, -1 on failure. After 1 or 2 call free_dataset.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, ENOTDIR.
IMSS_API int32_t stat_dataset(const char* uri, dataset_info* info);

// As free_imss, for stat_dataset.
IMSS_API int32_t free_dataset(dataset_info* info);

// Renames or moves a dataset or a directory with all that is in it, atomically: others see the old
// name or the new one. An existing dataset, or an empty directory, at the new name is replaced.
// Open ids stay valid. Both URIs are of one instance. Directories on the new path must exist.
// Errors: EINVAL, also for two instances and for a directory into itself; ENAMETOOLONG; ENOTCONN;
// ENOENT; ENOTDIR; EISDIR a dataset over a directory; ENOTEMPTY; EACCES.
IMSS_API int32_t rename_dataset(const char* old_uri, const char* new_uri);

// Creates a directory; missing ones on its path are created too. `mode`: permission bits; 0: 0755.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN, EEXIST, ENOTDIR, ENOSPC, EACCES.
IMSS_API int32_t imss_mkdir(const char* uri, uint32_t mode);

// Removes an empty directory.
// Errors: EINVAL, among others for the root; ENAMETOOLONG, ENOTCONN, ENOENT, ENOTDIR, ENOTEMPTY,
// EACCES.
IMSS_API int32_t imss_rmdir(const char* uri);

// Whether the URI names something: 0 nothing, 1 an instance, 2 a dataset or a directory
// (stat_dataset tells which), -1 on failure. Looks up names only: the instance need not be open.
// Errors: EINVAL, ENAMETOOLONG, ENOTCONN.
IMSS_API int32_t get_type(const char* uri);

// Data.

// Copies a whole block into `buffer`, which has room for data_elem_size KiB. A block that was
// never written reads as zeros. Block 0 writes the dataset's imss_inner_metadata, exactly 256
// bytes. Readers of a block see one whole-block set or another, never a mixture of two.
// Errors: EBADF; EINVAL null, or block not in 0..num_data_elem; EIO; ETIMEDOUT.
IMSS_API int32_t get_data(int32_t id, int32_t block, void* buffer);

// Stores a block or a part of it.
//   block   1 to num_data_elem
//   size    0: the whole block; `buffer` holds data_elem_size KiB and offset is 0. Atomic: others
//           read the old block or the new one, also when this process is killed half way.
//           Not 0: so many bytes, to the bytes from `offset` on, in place; a reader may see a part
//           of them. Different ranges of one block may be written at the same time
//   offset  byte in the block; offset + size is at most data_elem_size KiB
// When it returns 0 every copy of the block is written.
// Errors: EBADF; EINVAL; ENOSPC; EIO; ETIMEDOUT.
IMSS_API int32_t set_data(int32_t id, int32_t block, const void* buffer, size_t size, off_t offset);

// Copies `size` bytes (at least 1) of a block, from byte `offset` on, into `buffer`.
// Errors: EBADF; EINVAL block not in 1..num_data_elem, or the range is not inside the block; EIO;
// ETIMEDOUT.
IMSS_API int32_t get_ndata(int32_t id, int32_t block, void* buffer, size_t size, off_t offset);

// Replaces a whole block, atomically as set_data does, by `size` bytes (at least 1) of `buffer`
// followed by zeros.
// Errors: EBADF; EINVAL size 0 or larger than the block; ENOSPC; EIO; ETIMEDOUT.
IMSS_API int32_t set_ndata(int32_t id, int32_t block, const void* buffer, uint32_t size);

// Get or set a list of blocks or ranges of one dataset, each item as get_ndata or set_data would
// do it (size 0: the whole block). Items are executed in no particular order and one does not wait
// for another; items that fail do not stop the others. `count`: 0 to IMSS_BLOCK_LIST_MAX.
// Returns 0 when all items succeeded. Otherwise -1 with errno of the first item in the list that
// failed; result_errno of every item is written. When the list itself is refused (EINVAL null list
// or bad count, EBADF) nothing is done and nothing is written.
IMSS_API int32_t get_datav(int32_t id, imss_block_io* list, int32_t count);
IMSS_API int32_t set_datav(int32_t id, imss_block_io* list, int32_t count);

// The hosts that store a block, first replica first.
// Returns a malloc'ed array of *num_storages malloc'ed strings; the caller frees each string and
// the array. NULL on failure.
// Errors: EINVAL, also for a block not in 1..num_data_elem; ENAMETOOLONG; ENOTCONN; ENOENT no such
// dataset, or a LOCAL one whose block was never written; ENOTDIR; EISDIR.
IMSS_API char** get_dataloc(const char* uri, int32_t block, int32_t* num_storages);

// The index (from 0) of the server that holds the first replica of a block; `op`:
// IMSS_LOCATION_GET where it would be read, IMSS_LOCATION_SET where it would be written by this
// process. -1 on failure.
// Errors: EBADF; EINVAL; ENOENT a LOCAL dataset's block that was never written
// (IMSS_LOCATION_GET).
IMSS_API int32_t get_data_location(int32_t id, int32_t block, int32_t op);

// Zero-copy views.

// Shows a block in the store's own memory: no copy. The bytes stay mapped and are not reused until
// the view is released, also when the block is set again, the dataset is deleted or the id
// released. A whole-block set does not change what a view shows; sets of a part of a block write in
// place and show through. A block that was never written is given memory and shows zeros. Release
// views soon, at the latest before the thread that took them ends: each holds its memory back.
// Writing to `data` is an error of the program.
// Errors: EBADF; EINVAL null, or block not in 1..num_data_elem; EMFILE this thread holds too many
// views (56); ENOTSUP the block's server cannot be mapped (use get_data); ENOSPC; EIO; ETIMEDOUT.
IMSS_API int32_t imss_view(int32_t id, int32_t block, imss_block_view* view);

// Ends a view, from any thread of the process, and sets the structure to zeros.
// Errors: EINVAL null, or not a view that is held, for example released already.
IMSS_API int32_t imss_view_release(imss_block_view* view);

// Asynchronous operations.

// Start a get_data or a set_data and return a request, NULL on failure. The buffer belongs to the
// operation until imss_wait, imss_test or imss_waitall says that it is complete. Operations
// complete in any order. Every request must be completed by one of them; releasing the dataset
// meanwhile waits. Arguments are checked at once.
// Errors: those of get_data and set_data; EAGAIN too many requests are under way, complete some
// first.
IMSS_API imss_request* iget_data(int32_t id, int32_t block, void* buffer);
IMSS_API imss_request* iset_data(int32_t id, int32_t block, const void* buffer, size_t size,
                                 off_t offset);

// Waits for an operation, gives its result (0, or -1 with its errno) and sets *request to NULL.
// The operation keeps the deadline that was set when it was started.
// Errors of its own: EINVAL null, or not a request that is under way, for example completed
// already.
IMSS_API int32_t imss_wait(imss_request** request);

// Looks whether an operation is complete, without waiting. When it is not: *done = 0, returns 0.
// When it is: *done = 1, sets *request to NULL and gives the operation's result as imss_wait does.
// Errors of its own: as imss_wait; *done is untouched then.
IMSS_API int32_t imss_test(imss_request** request, int32_t* done);

// Waits for all of `count` requests; NULL ones are skipped. Sets all to NULL. `result_errnos`:
// NULL or `count` words that receive 0 or the errno of each.
// Returns 0 when all succeeded, otherwise -1 with the errno of the first in the array that failed.
// Errors of its own: EINVAL null array, or count < 0.
IMSS_API int32_t imss_waitall(imss_request** requests, int32_t count, int32_t* result_errnos);

// Diagnosis and settings.

// The sentence that belongs to this thread's last failed call, "" when none failed. Valid until
// this thread's next call; not to be freed. Never NULL.
IMSS_API const char* imss_last_error(void);

// The version of the library, such as "0.1.0". Static; any time, before initialisation too.
IMSS_API const char* imss_version(void);

// Sets the deadline of every call of this process that begins afterwards: at least 1 millisecond.
// Any time, before initialisation too.
// Errors: EINVAL 0.
IMSS_API int32_t imss_set_deadline_ms(uint32_t deadline_ms);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // IMSS_IMSS_H_

// The short names are outside the include guard: a header that wants them not must not take them
// from one that does.
#if !defined(IMSS_NO_SHORT_NAMES) && !defined(IMSS_SHORT_NAMES_DEFINED_)
#define IMSS_SHORT_NAMES_DEFINED_
#define DETACHED IMSS_DETACHED
#define ATTACHED IMSS_ATTACHED
#define DISCONNECT IMSS_DISCONNECT
#define CLOSE_DETACHED IMSS_CLOSE_DETACHED
#define CLOSE_ATTACHED IMSS_CLOSE_ATTACHED
#define NONE IMSS_COPIES_NONE
#define DRM IMSS_COPIES_DRM
#define TRM IMSS_COPIES_TRM
#endif
