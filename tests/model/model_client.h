// A client of the store that checks every answer against its model. Owned by one process; one
// thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/session.h"
#include "model.h"

namespace model {

using Bytes = std::vector<std::byte>;

class Client {
 public:
  Client(imss::client::Session& session, Journal& journal, std::uint32_t number, std::uint64_t seed)
      : session_(session), journal_(journal), number_(number), random_(seed) {}

  // Finds out whether the change that an earlier client had under way happened, and then compares
  // everything. False: see Journal::failure.
  bool take_over();
  // Compares all that is stored with the model.
  bool verify();
  // One random operation; `deadly`: dies in it, probably.
  bool step(bool deadly);

  // From here on servers may be out of reach: what ends for that reason is no difference but leaves
  // the change under way undecided, and the method returns false with troubled().
  void expect_trouble() { trouble_expected_ = true; }
  bool troubled() const { return troubled_; }
  // After trouble: take_over() until it succeeds. False: see Journal::failure.
  bool recover(imss::Deadline patience);

 private:
  std::uint64_t random(std::uint64_t below);
  bool fail(const std::string& what);
  // The same for a call that ended with an error.
  bool fail(const std::string& what, const imss::Status& why);
  bool look(const imss::Uri& path, bool* there);
  bool change(const Change& change);
  bool check_file(Place place);
  bool check_content(imss::client::Dataset& dataset, Place place);
  bool check_directory(std::uint32_t directory);
  bool resolve();
  bool resolve_data(const Change& change);
  bool share();
  bool share_block();
  bool share_log();
  bool share_name();
  void arm();
  Change draw_change();
  void draw_range(Change& change);
  std::uint64_t draw_offset(std::uint64_t block_bytes, std::uint64_t most);
  imss::Uri uri(std::uint32_t directory) const;
  imss::Uri uri(Place place) const;
  imss::Status execute(const Change& change);
  imss::Status write_data(const Change& change);
  const State& state() const { return journal_.state(); }
  const File& file(Place place) const {
    return state().directories[place.directory].files[place.file];
  }

  imss::client::Session& session_;
  Journal& journal_;
  std::uint32_t number_;
  std::uint64_t random_;
  bool trouble_expected_ = false;
  bool troubled_ = false;
};

// Closes the dataset at the end.
class Opened {
 public:
  Opened(imss::client::Session& session, imss::Result<std::int32_t> handle)
      : session_(session), handle_(std::move(handle)) {
    if (!handle_.ok()) return;
    auto dataset = session.dataset(*handle_);
    if (dataset.ok()) dataset_ = *dataset;
  }
  ~Opened() {
    if (handle_.ok()) [[maybe_unused]]
      const imss::Status status = session_.release(*handle_);
  }
  imss::Status status() const { return handle_.status(); }
  imss::client::Dataset& operator*() const { return *dataset_; }

 private:
  imss::client::Session& session_;
  imss::Result<std::int32_t> handle_;
  std::shared_ptr<imss::client::Dataset> dataset_;
};

imss::client::DatasetOptions options_of(std::uint32_t shape);

// The name of the instance that all use.
inline constexpr const char* kInstance = "model";
inline constexpr std::uint32_t kSharedBlocks = 8;
inline constexpr std::uint64_t kSharedBlockBytes = 48 << 10;

inline constexpr std::uint64_t kSharedRecordBytes = 1700;  // of the log that all append to

// Makes what all clients share, unless it is there.
imss::Status make_shared(imss::client::Session& session);
// What all clients share, looked at when nobody changes it. Returns what is wrong, or nothing.
std::string verify_shared(imss::client::Session& session);

}  // namespace model
