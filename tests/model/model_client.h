// A client of the store that checks every answer against its model. Owned by one process; one
// thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "client/session.h"
#include "model.h"

namespace model {

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

 private:
  std::uint64_t random(std::uint64_t below);
  bool fail(const std::string& what);
  bool change(const Change& change);
  bool check_file(Place place);
  bool check_directory(std::uint32_t directory);
  bool resolve();
  bool resolve_data(const Change& change);
  bool share();
  void arm();
  Change draw_change();
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
};

// The name of the instance that all use.
inline constexpr const char* kInstance = "model";
inline constexpr std::uint32_t kSharedBlocks = 8;
inline constexpr std::uint64_t kSharedBlockBytes = 48 << 10;

// What all clients share, looked at when nobody changes it. Returns what is wrong, or nothing.
std::string verify_shared(imss::client::Session& session);

}  // namespace model
