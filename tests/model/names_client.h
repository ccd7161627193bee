// A client of several metadata servers that changes names of its own, compares every answer with
// what it was told before, and meddles with names that all clients change. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "client/session.h"
#include "names_model.h"

namespace model {

// Changes that had parties on several servers, and those of them that a server's death held up.
enum class Crossing : std::uint32_t { kNone, kMakeDirectory, kRemoveDirectory, kMoveFile, kMoveDirectory, kLink };
constexpr std::size_t kCrossings = 6;

struct NamesReport {
  std::uint64_t operations = 0;
  std::uint64_t not_applied = 0;  // ended with an error that says so
  std::uint64_t uncertain = 0;    // ended with an error that leaves it open
  std::uint64_t happened = 0;     // of the uncertain ones
  std::int64_t longest_ms = 0;
  std::string longest;
  std::array<std::uint64_t, kCrossings> crossed{};
  std::array<std::uint64_t, kCrossings> held_up{};
};

class NamesClient {
 public:
  NamesClient(imss::client::Session& session, std::uint32_t number, std::uint64_t seed)
      : session_(session), number_(number), random_(seed) {}

  // All of these: false when the store differs from the model, see failure().
  bool begin(imss::Deadline patience);
  bool step();
  // Everything is as the model has it, once the servers are back.
  bool verify(imss::Deadline patience);
  // Removes all that begin() and step() made.
  bool remove_all(imss::Deadline patience);

  const std::string& failure() const { return failure_; }
  const NamesReport& report() const { return report_; }

 private:
  std::uint64_t random(std::uint64_t below);
  bool fail(const std::string& what);
  imss::Uri uri(const std::string& path) const;
  NamePlace draw_place(bool present);
  NameChange draw_change();
  imss::Status execute(const NameChange& change, const NameTree& after);
  bool change(const NameChange& change);
  bool settle(const NameChange& change, bool applied_possible, NameTree after);
  bool learn(NameTree& tree, const NamePlace& place);
  bool share();
  Crossing crossing_of(const NameChange& change, const NameTree& before, const NameTree& after) const;
  imss::Status look(const std::string& path, std::uint64_t* id);
  imss::Status compare_directory(std::uint32_t directory);
  imss::Status compare_dataset(const NamePlace& place);
  imss::Status compare_all(bool links);
  template <typename Call>
  imss::Status timed(const std::string& what, Call&& call);

  imss::client::Session& session_;
  const std::uint32_t number_;
  std::uint64_t random_;
  NameTree tree_;
  NamesReport report_;
  std::int64_t took_ms_ = 0;  // the last timed call
  std::string failure_;
};

// What all clients changed together, when nobody does any more: every directory counts its names right, every dataset
// can be opened and counts its names right. Returns what is wrong, or nothing.
std::string verify_shared_names(imss::client::Session& session, imss::Deadline patience);

}  // namespace model
