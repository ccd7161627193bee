// A random sequence of file operations by several processes that take turns, and what each of them answered.
//
// usage: sequence DIR SEED STEPS [PROCESSES [xattrs]]
//        sequence --has-xattrs DIR     ends with 0 when user attributes can be set there
//
// The sequence depends on the seed only, so two runs in two file systems must print the same. Times are compared by what
// they mean (which of them an operation changed), numbers of inodes and sizes of directories not at all.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr int kDescriptors = 6;
constexpr std::size_t kLargestTransfer = 200'000;
constexpr off_t kLargestOffset = 3'000'000;

std::string printed;
bool with_xattrs = false;

__attribute__((format(printf, 1, 2))) void say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  printed += line;
}

std::uint32_t sum_of(const void* data, std::size_t bytes) {
  std::uint32_t sum = 2166136261U;
  for (std::size_t i = 0; i < bytes; ++i) sum = (sum ^ static_cast<const unsigned char*>(data)[i]) * 16777619U;
  return sum;
}

// Both the outcome of a call and its errno.
void outcome(long result) {
  if (result < 0) {
    say(" -> %s\n", ::strerrorname_np(errno));
  } else {
    say(" -> %ld\n", result);
  }
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

void describe(const struct stat& status) {
  const bool directory = S_ISDIR(status.st_mode);
  say(" mode %o links %lu owner %u:%u size %ld", status.st_mode, static_cast<unsigned long>(status.st_nlink), status.st_uid,
      status.st_gid, directory ? 0L : static_cast<long>(status.st_size));
}

// One process: its descriptors, and its share of the operations.
class Actor {
 public:
  explicit Actor(std::mt19937& random) : random_(random) { descriptors_.fill(-1); }

  void step() {
    using Operation = void (Actor::*)();
    static constexpr Operation kOperations[] = {
        &Actor::open,      &Actor::open,     &Actor::open,     &Actor::close,    &Actor::read,     &Actor::read,
        &Actor::write,     &Actor::write,    &Actor::write,    &Actor::pread,    &Actor::pwrite,   &Actor::vectors,
        &Actor::seek,      &Actor::truncate, &Actor::ftruncate, &Actor::dup,     &Actor::stat,     &Actor::stat,
        &Actor::fstat,     &Actor::unlink,   &Actor::mkdir,    &Actor::mkdir,    &Actor::rmdir,    &Actor::rename,
        &Actor::rename,    &Actor::link,     &Actor::symlink,  &Actor::readlink, &Actor::chmod,    &Actor::utimens,
        &Actor::access,    &Actor::list,     &Actor::contents, &Actor::contents, &Actor::times,    &Actor::sync,
        &Actor::allocate,  &Actor::allocate, &Actor::exchange, &Actor::set_xattr, &Actor::get_xattr, &Actor::list_xattrs,
        &Actor::remove_xattr};
    constexpr std::size_t kOfXattrs = 4;
    const std::size_t count = std::size(kOperations) - (with_xattrs ? 0 : kOfXattrs);
    (this->*kOperations[random_() % count])();
  }

 private:
  std::string name() {
    static const char* const kNames[] = {"a", "b", "c", "d", "d/a", "d/b", "d/d", "d/d/a", "e", "e/a", "e/link", "a/below", "link", "none/a", ".", "d/.."};
    return kNames[random_() % std::size(kNames)];
  }
  // Mostly one that is open.
  int& descriptor() {
    std::size_t place = random_() % descriptors_.size();
    for (std::size_t i = 0; i < descriptors_.size() && descriptors_[place] < 0; ++i) place = (place + 1) % descriptors_.size();
    return descriptors_[random_() % 20 == 0 ? random_() % descriptors_.size() : place];
  }
  off_t offset() { return static_cast<off_t>(random_() % 4 == 0 ? random_() % kLargestOffset : random_() % 5000); }
  std::size_t length() { return random_() % 5 == 0 ? random_() % kLargestTransfer : random_() % 3000; }
  std::vector<char> content(std::size_t bytes) {
    std::vector<char> data(bytes);
    const auto seed = static_cast<unsigned char>(random_());
    for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(seed + i % 83);
    return data;
  }

  void open() {
    int& fd = descriptors_[random_() % descriptors_.size()];
    if (fd >= 0) ::close(fd);
    static constexpr int kModes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    int flags = kModes[random_() % 4];
    for (const int flag : {O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY}) {
      const unsigned chance = flag == O_CREAT ? 2 : flag == O_DIRECTORY ? 12 : 5;
      if (random_() % chance == 0) flags |= flag;
    }
    if ((flags & O_CREAT) != 0) flags &= ~O_DIRECTORY;  // what that means together differs between kernels
    const mode_t mode = 0600 | (random_() % 64);
    const std::string path = name();
    say("open %s %x %o", path.c_str(), static_cast<unsigned>(flags), mode);
    fd = ::open(path.c_str(), flags, mode);
    outcome(fd < 0 ? fd : 0);
  }
  void close() {
    int& fd = descriptor();
    say("close");
    outcome(::close(fd));
    fd = -1;
  }
  void read() {
    std::vector<char> data(length());
    say("read %zu", data.size());
    const ssize_t got = ::read(descriptor(), data.data(), data.size());
    say(" sum %x", got > 0 ? sum_of(data.data(), static_cast<std::size_t>(got)) : 0);
    outcome(got);
  }
  void pread() {
    std::vector<char> data(length());
    const off_t place = offset();
    say("pread %zu at %ld", data.size(), static_cast<long>(place));
    const ssize_t got = ::pread(descriptor(), data.data(), data.size(), place);
    say(" sum %x", got > 0 ? sum_of(data.data(), static_cast<std::size_t>(got)) : 0);
    outcome(got);
  }
  void write() {
    const std::vector<char> data = content(length());
    say("write %zu", data.size());
    outcome(::write(descriptor(), data.data(), data.size()));
  }
  void pwrite() {
    const std::vector<char> data = content(length());
    const off_t place = offset();
    say("pwrite %zu at %ld", data.size(), static_cast<long>(place));
    outcome(::pwrite(descriptor(), data.data(), data.size(), place));
  }
  void vectors() {
    const bool writes = random_() % 2 == 0;
    std::vector<char> one = content(length());
    std::vector<char> two = content(length());
    iovec parts[] = {{one.data(), one.size()}, {two.data(), two.size()}};
    say("%s %zu+%zu", writes ? "writev" : "readv", one.size(), two.size());
    const int fd = descriptor();
    const ssize_t done = writes ? ::writev(fd, parts, 2) : ::readv(fd, parts, 2);
    if (!writes && done > 0) {
      one.insert(one.end(), two.begin(), two.end());
      say(" sum %x", sum_of(one.data(), static_cast<std::size_t>(done)));
    }
    outcome(done);
  }
  void seek() {
    static constexpr int kWhence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    const int whence = kWhence[random_() % 3];
    const off_t place = offset() - (whence == SEEK_SET ? 0 : 2500);
    const int fd = descriptor();
    struct stat status = {};
    // Where directories can be sought to is theirs to say.
    if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) return;
    say("lseek %ld from %d", static_cast<long>(place), whence);
    outcome(::lseek(fd, place, whence));
  }
  void truncate() {
    const std::string path = name();
    const off_t size = offset() - 50;
    say("truncate %s %ld", path.c_str(), static_cast<long>(size));
    outcome(::truncate(path.c_str(), size));
  }
  void ftruncate() {
    const off_t size = offset();
    say("ftruncate %ld", static_cast<long>(size));
    outcome(::ftruncate(descriptor(), size));
  }
  void dup() {
    int& to = descriptor();
    const int from = descriptor();
    if (from < 0 || from == to) return;
    if (to >= 0) ::close(to);
    to = ::dup(from);
    say("dup");
    outcome(to < 0 ? to : 0);
  }
  void stat() {
    const std::string path = name();
    const bool follow = random_() % 2 == 0;
    struct stat status = {};
    const int result = follow ? ::stat(path.c_str(), &status) : ::lstat(path.c_str(), &status);
    say("%s %s", follow ? "stat" : "lstat", path.c_str());
    if (result == 0) describe(status);
    outcome(result);
  }
  void fstat() {
    struct stat status = {};
    const int result = ::fstat(descriptor(), &status);
    say("fstat");
    if (result == 0) describe(status);
    outcome(result);
  }
  void unlink() {
    const std::string path = name();
    say("unlink %s", path.c_str());
    outcome(::unlink(path.c_str()));
  }
  void mkdir() {
    const std::string path = name();
    const mode_t mode = 0700 | (random_() % 64);
    say("mkdir %s %o", path.c_str(), mode);
    outcome(::mkdir(path.c_str(), mode));
  }
  void rmdir() {
    const std::string path = name();
    say("rmdir %s", path.c_str());
    outcome(::rmdir(path.c_str()));
  }
  void rename() {
    const std::string from = name();
    const std::string to = name();
    const unsigned flags = random_() % 5 == 0 ? RENAME_NOREPLACE : 0;
    say("rename %s to %s %u", from.c_str(), to.c_str(), flags);
    outcome(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
  }
  void exchange() {
    const std::string from = name();
    const std::string to = name();
    say("exchange %s and %s", from.c_str(), to.c_str());
    outcome(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE));
  }
  void allocate() {
    static constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
    const int mode = kModes[random_() % std::size(kModes)];
    const off_t place = offset() - 20;
    const auto bytes = static_cast<off_t>(length());
    say("fallocate %d %ld+%ld", mode, static_cast<long>(place), static_cast<long>(bytes));
    outcome(::fallocate(descriptor(), mode, place, bytes));
  }
  const char* xattr_name() {
    static const char* const kNames[] = {"user.a", "user.b", "user.longer.name", "strange.a", "user."};
    return kNames[random_() % std::size(kNames)];
  }
  void set_xattr() {
    const std::string path = name();
    const char* const attribute = xattr_name();
    const std::vector<char> value = content(random_() % 200);
    static constexpr int kFlags[] = {0, XATTR_CREATE, XATTR_REPLACE};
    const int flags = kFlags[random_() % 3];
    say("setxattr %s %s %zu %d", path.c_str(), attribute, value.size(), flags);
    outcome(::lsetxattr(path.c_str(), attribute, value.data(), value.size(), flags));
  }
  void get_xattr() {
    const std::string path = name();
    const char* const attribute = xattr_name();
    std::array<char, 300> value;
    const std::size_t room = random_() % 4 == 0 ? random_() % 100 : value.size();
    const ssize_t got = ::getxattr(path.c_str(), attribute, value.data(), room);
    say("getxattr %s %s %zu sum %x", path.c_str(), attribute, room,
        got > 0 && room > 0 ? sum_of(value.data(), static_cast<std::size_t>(got)) : 0);
    outcome(got);
  }
  void list_xattrs() {
    const std::string path = name();
    std::array<char, 1000> names;
    const ssize_t got = ::llistxattr(path.c_str(), names.data(), names.size());
    std::vector<std::string> sorted;
    for (const char* next = names.data(); got > 0 && next < names.data() + got; next += std::strlen(next) + 1) sorted.emplace_back(next);
    std::sort(sorted.begin(), sorted.end());
    say("llistxattr %s", path.c_str());
    for (const std::string& one : sorted) say(" %s", one.c_str());
    outcome(got);
  }
  void remove_xattr() {
    const std::string path = name();
    const char* const attribute = xattr_name();
    say("removexattr %s %s", path.c_str(), attribute);
    outcome(::removexattr(path.c_str(), attribute));
  }
  void link() {
    const std::string from = name();
    const std::string to = name();
    say("link %s to %s", from.c_str(), to.c_str());
    outcome(::link(from.c_str(), to.c_str()));
  }
  void symlink() {
    static const char* const kTargets[] = {"a", "d", "../a", "link", "missing", "d/a"};
    const char* const target = kTargets[random_() % std::size(kTargets)];
    const std::string path = name();
    say("symlink %s at %s", target, path.c_str());
    outcome(::symlink(target, path.c_str()));
  }
  void readlink() {
    const std::string path = name();
    char target[100] = {};
    say("readlink %s", path.c_str());
    const ssize_t got = ::readlink(path.c_str(), target, random_() % 4 == 0 ? 2 : sizeof(target) - 1);
    say(" %s", target);
    outcome(got);
  }
  void chmod() {
    const std::string path = name();
    const mode_t mode = 0700 | (random_() % 64) | (random_() % 8 == 0 ? 01000 : 0);
    say("chmod %s %o", path.c_str(), mode);
    outcome(::chmod(path.c_str(), mode));
  }
  void utimens() {
    const std::string path = name();
    const timespec times[] = {{static_cast<time_t>(random_() % 1'000'000'000), 5}, {static_cast<time_t>(random_() % 1'000'000'000), 123'456'789}};
    say("utimens %s", path.c_str());
    const int result = ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
    struct stat status = {};
    if (result == 0 && ::lstat(path.c_str(), &status) == 0) {
      say(" atime %d mtime %d", same_time(status.st_atim, times[0]), same_time(status.st_mtim, times[1]));
    }
    outcome(result);
  }
  void access() {
    const std::string path = name();
    const int mode = static_cast<int>(random_() % 8);
    say("access %s %d", path.c_str(), mode);
    outcome(::access(path.c_str(), mode));
  }
  void list() {
    const std::string path = name();
    say("list %s", path.c_str());
    DIR* const directory = ::opendir(path.c_str());
    if (directory == nullptr) return outcome(-1);
    std::vector<std::string> entries;
    while (const dirent* const entry = ::readdir(directory)) {
      entries.push_back(std::string(entry->d_name) + ":" + std::to_string(entry->d_type));
    }
    ::closedir(directory);
    std::sort(entries.begin(), entries.end());
    for (const std::string& entry : entries) say(" %s", entry.c_str());
    outcome(0);
  }
  // All bytes by another opening of the file.
  void contents() {
    const std::string path = name();
    say("contents %s", path.c_str());
    const int fd = ::open(path.c_str(), O_RDONLY);
    if (fd < 0) return outcome(fd);
    std::vector<char> data(1 << 16);
    std::uint32_t sum = 0;
    long all = 0;
    ssize_t got = 0;
    while ((got = ::read(fd, data.data(), data.size())) > 0) {
      sum = sum * 31 + sum_of(data.data(), static_cast<std::size_t>(got));
      all += got;
    }
    say(" sum %x", sum);
    const int error = errno;
    ::close(fd);
    errno = error;
    outcome(got < 0 ? -1 : all);
  }
  // A write changes mtime and ctime, chmod only ctime: seen against times set long ago.
  void times() {
    const std::string path = name();
    const timespec old[] = {{1000, 1}, {1000, 1}};
    say("times %s", path.c_str());
    const int fd = ::open(path.c_str(), O_WRONLY);
    if (fd < 0) return outcome(fd);
    struct stat set = {};
    struct stat written = {};
    const int result = ::futimens(fd, old);
    ::fstat(fd, &set);
    const ssize_t wrote = ::pwrite(fd, "x", random_() % 2, 0);
    ::fstat(fd, &written);
    say(" set %d wrote %zd mtime kept %d", same_time(set.st_mtim, old[1]), wrote, same_time(written.st_mtim, set.st_mtim));
    ::fchmod(fd, written.st_mode & 07777);
    struct stat changed = {};
    ::fstat(fd, &changed);
    say(" after chmod %d", same_time(changed.st_mtim, written.st_mtim));
    ::close(fd);
    outcome(result);
  }
  void sync() {
    say("fsync");
    outcome(::fsync(descriptor()));
  }

  std::mt19937& random_;
  std::array<int, kDescriptors> descriptors_;
};

struct Worker {
  pid_t pid = 0;
  int go = -1;    // written: a seed for one step
  int told = -1;  // read: the length of what it printed, and that
};

bool read_whole(int fd, void* data, std::size_t bytes) {
  auto* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::read(fd, next, bytes);
    if (got <= 0) return false;
    next += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

bool write_whole(int fd, const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(fd, next, bytes);
    if (put <= 0) return false;
    next += put;
    bytes -= static_cast<std::size_t>(put);
  }
  return true;
}

Worker start() {
  int go[2];
  int told[2];
  if (::pipe(go) != 0 || ::pipe(told) != 0) std::exit(2);
  Worker worker{::fork(), go[1], told[0]};
  if (worker.pid != 0) {
    ::close(go[0]);
    ::close(told[1]);
    return worker;
  }
  ::close(go[1]);
  ::close(told[0]);
  std::mt19937 random;
  Actor actor(random);
  for (std::uint32_t seed = 0; read_whole(go[0], &seed, sizeof(seed));) {
    random.seed(seed);
    printed.clear();
    actor.step();
    const auto length = static_cast<std::uint32_t>(printed.size());
    if (!write_whole(told[1], &length, sizeof(length)) || !write_whole(told[1], printed.data(), length)) break;
  }
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--has-xattrs") == 0) return ::setxattr(argv[2], "user.probe", "", 0, 0) == 0 ? 0 : 1;
  if (argc < 4 || ::chdir(argv[1]) != 0) {
    std::fprintf(stderr, "usage: sequence DIR SEED STEPS [PROCESSES [xattrs]]\n");
    return 2;
  }
  std::mt19937 random(static_cast<std::uint32_t>(std::atoi(argv[2])));
  const int steps = std::atoi(argv[3]);
  ::umask(022);
  with_xattrs = argc > 5;
  std::vector<Worker> workers(static_cast<std::size_t>(argc > 4 ? std::atoi(argv[4]) : 3));
  for (Worker& worker : workers) worker = start();
  for (int i = 0; i < steps; ++i) {
    const std::size_t turn = random() % workers.size();
    const auto seed = static_cast<std::uint32_t>(random());
    std::uint32_t length = 0;
    if (!write_whole(workers[turn].go, &seed, sizeof(seed)) || !read_whole(workers[turn].told, &length, sizeof(length))) {
      std::printf("%d: process %zu has died\n", i, turn);
      return 1;
    }
    std::string text(length, ' ');
    if (!read_whole(workers[turn].told, text.data(), length)) return 1;
    if (length > 0) std::printf("%d: process %zu: %s", i, turn, text.c_str());
  }
  // Each holds those of the workers before it, too.
  for (const Worker& worker : workers) ::close(worker.go);
  for (const Worker& worker : workers) ::waitpid(worker.pid, nullptr, 0);
  return 0;
}
