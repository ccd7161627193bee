#include "check_export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>

#include "base/text.h"
#include "common_file.h"
#include "common_session.h"

namespace imss::tools {
namespace {

using segment::Segment;

// The folder of the instance without a name.
constexpr const char* kUnnamed = "unnamed";

struct Look {
  bool served = false;
  std::string note;  // what is unusual about it
};

Look look_at(const std::string& name) {
  Look look;
  const auto copy = Segment::open_private(name);
  if (!copy.ok()) return look;
  const auto state = static_cast<segment::State>((*copy)->super().state.load());
  const bool turned_away = state == segment::State::kFenced || state == segment::State::kRetired;
  look.served = !turned_away && (*copy)->probe(0) == Segment::Liveness::kAlive;
  if (turned_away) {
    look.note = concat(name, " was ", state == segment::State::kFenced ? "fenced" : "retired",
                       "; what it holds is as it was then");
  }
  if ((*copy)->unknown_features()) {
    if (!look.note.empty()) look.note += "; it";
    look.note = concat(look.note.empty() ? name : look.note, " has features that this program does not know");
  }
  (*copy)->leave();
  return look;
}

bool is_served(const std::string& name) { return look_at(name).served; }

class Export {
 public:
  Export(client::Session& session, ExportReport* report) : session_(session), report_(*report) {}

  // Segments that nobody serves; what is read of them is right as long as that stays so.
  std::vector<std::string> unserved;

  void instance(const metadata::InstanceInfo& info, const std::string& folder) {
    const Uri root{info.name, ""};
    const auto servers = session_.instance(info.name);
    if (!servers.ok()) return incomplete(root, servers.status());
    for (std::size_t i = 0; i < (*servers)->stores.size(); ++i) {
      const store::Store* store = (*servers)->mapped[i];
      const std::string& name = (*servers)->servers[i].segment_name;
      if (store == nullptr) {
        note(format_uri(root) + ": the segment of data server " + std::to_string(i) +
             (name.empty() ? "" : ", " + name + ",") + " cannot be read");
        continue;
      }
      const Look look = look_at(name);
      if (!look.note.empty()) note(look.note);
      if (!look.served) unserved.push_back(name);
    }
    directory(root, concat(folder, "/", info.name.empty() ? kUnnamed : info.name), 0755);
  }

 private:
  void note(std::string sentence) { report_.notes.push_back(std::move(sentence)); }
  void incomplete(const Uri& uri, const Status& status) {
    report_.incomplete.push_back(concat(format_uri(uri), ": ", status.message()));
  }

  void directory(const Uri& uri, const std::string& path, std::uint32_t mode) {
    if (::mkdir(path.c_str(), (mode & 0777) | 0700) != 0 && errno != EEXIST)
      return incomplete(uri, Status::from_errno(errno, path));
    const auto entries = list_all(session_, uri);
    if (!entries.ok()) return incomplete(uri, entries.status());
    for (const metadata::EntryInfo& entry : *entries) {
      const Uri child = child_of(uri, entry.name);
      const std::string target = concat(path, "/", entry.name);
      // A damaged segment may hold any bytes.
      if (entry.name.empty() || entry.name == "." || entry.name == ".." ||
          entry.name.find('/') != std::string::npos) {
        incomplete(child, Status(Code::kCorrupt, "is no name for a file"));
      } else if (entry.type == metadata::NodeType::kDirectory) {
        const auto said = session_.names().directory(entry.id);
        directory(child, target, said.ok() ? said->mode : entry.mode);
      } else if (entry.type == metadata::NodeType::kDataset) {
        dataset(child, target);
      } else {
        incomplete(child, Status(Code::kNotSupported, "is neither a dataset nor a directory"));
      }
    }
  }

  void dataset(const Uri& uri, const std::string& path) {
    const auto dataset = session_.peek(uri);
    if (!dataset.ok()) return incomplete(uri, dataset.status());
    const auto attributes = session_.attributes(**dataset);
    if (!attributes.ok()) return incomplete(uri, attributes.status());
    File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                     attributes->mode & 0777));
    if (file.fd() < 0) return incomplete(uri, Status::from_errno(errno, path));
    Status status = content(**dataset, attributes->size, file.fd());
    if (status.ok()) {
      const auto time = static_cast<std::int64_t>(attributes->modified_ns);
      const timespec when{time / 1'000'000'000, time % 1'000'000'000};
      const timespec times[] = {when, when};
      // A file system that keeps no times keeps the content all the same.
      [[maybe_unused]] const int timed = ::futimens(file.fd(), times);
      status = file.close();
    }
    if (!status.ok()) {
      ::unlink(path.c_str());
      return incomplete(uri, status);
    }
    ++report_.datasets;
    report_.bytes += attributes->size;
  }

  // Blocks of zeros become holes.
  Status content(client::Dataset& dataset, std::uint64_t size, int fd) {
    const std::uint64_t block_bytes = dataset.layout.block_bytes;
    if (size != 0 && (block_bytes == 0 || block_bytes > (64U << 20)))
      return Status(Code::kCorrupt, "has a block size that cannot be");
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0)
      return Status::from_errno(errno, "ftruncate");
    std::vector<std::byte> block(std::min(block_bytes, size));
    for (std::uint64_t done = 0, number = 1; done < size; ++number) {
      const auto part = std::span(block).first(std::min(block_bytes, size - done));
      IMSS_RETURN_IF_ERROR(session_.get(dataset, number, 0, part));
      if (std::ranges::any_of(part, [](std::byte byte) { return byte != std::byte{0}; })) {
        if (::lseek(fd, static_cast<off_t>(done), SEEK_SET) < 0)
          return Status::from_errno(errno, "lseek");
        IMSS_RETURN_IF_ERROR(write_all(fd, part));
      }
      done += part.size();
    }
    return {};
  }

  client::Session& session_;
  ExportReport& report_;
};

}  // namespace

Status export_segment(const std::string& segment_name, const std::string* instance,
                      const std::string& folder, ExportReport* report) {
  const Look look = look_at(segment_name);
  IMSS_ASSIGN_OR_RETURN(const auto session, client::Session::connect_reading(segment_name));
  if (session->metadata_segment() == nullptr)
    return Status(Code::kNotFound, "the first metadata server's segment is not on this node");
  if (!look.note.empty()) report->notes.push_back(look.note);
  IMSS_ASSIGN_OR_RETURN(const auto instances, session->names().instances());
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST)
    return Status::from_errno(errno, folder);
  bool found = false;
  Export work(*session, report);
  for (const metadata::InstanceInfo& info : instances) {
    if (instance != nullptr && info.name != *instance) continue;
    found = true;
    work.instance(info, folder);
  }
  if (instance != nullptr && !found)
    return Status(Code::kNotFound,
                  "there is no instance imss://" + *instance + " in " + segment_name);
  // What was read of a segment that changed meanwhile may be wrong.
  if (!look.served) work.unserved.push_back(segment_name);
  for (const std::string& name : work.unserved) {
    if (is_served(name))
      return Status(Code::kBusy, "a server began to serve " + name + " meanwhile; export again");
  }
  return {};
}

}  // namespace imss::tools
