#include "net/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <string>

#include "support/scratch.h"

namespace imss::net {
namespace {

const std::string kPublic = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const std::string kSecret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

std::string contents_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string make_file(const test::Scratch& folder, const std::string& text, mode_t mode = 0600) {
  const std::string path = folder.file("keys");
  std::ofstream(path) << text;
  REQUIRE(chmod(path.c_str(), mode) == 0);
  return path;
}

TEST_CASE("a key file gives back the keys that were written into it") {
  const test::Scratch folder;
  const std::string path = folder.file("keys");
  REQUIRE(write_key_file(path, {kPublic, kSecret}).ok());
  const Result<ControlKeys> keys = read_key_file(path);
  REQUIRE(keys.ok());
  CHECK(keys->public_key == kPublic);
  CHECK(keys->secret_key == kSecret);
}

TEST_CASE("a new key file is for its owner alone, whatever the umask") {
  const test::Scratch folder;
  const std::string path = folder.file("keys");
  const mode_t before = umask(0);
  const Status written = write_key_file(path, {kPublic, kSecret});
  umask(0777);
  const Status also_written = write_key_file(path + "2", {kPublic, kSecret});
  umask(before);
  REQUIRE(written.ok());
  REQUIRE(also_written.ok());
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  REQUIRE(stat((path + "2").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
}

TEST_CASE("a file that is there is never overwritten by new keys") {
  const test::Scratch folder;
  const std::string path = make_file(folder, "precious");
  const Status status = write_key_file(path, {kPublic, kSecret});
  CHECK(status.code() == Code::kExists);
  CHECK(contents_of(path) == "precious");
}

TEST_CASE("a key file that others can use is refused with a sentence") {
  const test::Scratch folder;
  const std::string text = "public " + kPublic + "\nsecret " + kSecret + "\n";
  for (const mode_t mode : {mode_t{0640}, mode_t{0604}, mode_t{0620}, mode_t{0601}}) {
    const Result<ControlKeys> keys = read_key_file(make_file(folder, text, mode));
    CHECK(keys.code() == Code::kPermission);
    CHECK(keys.status().message().find("chmod 600 " + folder.file("keys")) != std::string::npos);
  }
  CHECK(read_key_file(make_file(folder, text, 0400)).ok());
}

TEST_CASE("comments, blank lines and other line ends do not matter in a key file") {
  const test::Scratch folder;
  const Result<ControlKeys> keys = read_key_file(
      make_file(folder, "# ours\r\n\r\n  secret\t" + kSecret + "  \r\n\npublic " + kPublic));
  REQUIRE(keys.ok());
  CHECK(keys->public_key == kPublic);
  CHECK(keys->secret_key == kSecret);
}

TEST_CASE("what is not a key file is refused with a sentence that does not show its contents") {
  const test::Scratch folder;
  const std::string text = GENERATE_COPY(values<std::string>({
      "",
      "public " + kPublic + "\n",
      "secret " + kSecret + "\n",
      "public " + kPublic + "\nsecret " + kSecret.substr(1) + "\n",
      "public " + kPublic + "\nsecret " + kSecret + "x\n",
      "public " + kPublic + "\nsecret " + kSecret.substr(1) + "~\n",
      "public " + kPublic + "\npublic " + kPublic + "\nsecret " + kSecret + "\n",
      "public " + kPublic + "\nsecret " + kSecret + "\nmore\n",
      "public " + kPublic + "\nsecret " + kSecret + "\n" + std::string(5000, '\n'),
      std::string(100, '\0'),
  }));
  const Result<ControlKeys> keys = read_key_file(make_file(folder, text));
  CHECK(keys.code() == Code::kCorrupt);
  CHECK(keys.status().message().find("is not a key file") != std::string::npos);
  CHECK(keys.status().message().find(kSecret.substr(1)) == std::string::npos);
}

TEST_CASE("a missing file, a folder and a pipe are no key files, and none is waited for") {
  const test::Scratch folder;
  CHECK(read_key_file(folder.file("none")).code() == Code::kNotFound);
  REQUIRE(mkdir(folder.file("folder").c_str(), 0700) == 0);
  CHECK(read_key_file(folder.file("folder")).code() == Code::kCorrupt);
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(read_key_file(folder.file("pipe")).code() == Code::kCorrupt);
}

TEST_CASE("only two whole keys are written, and nothing is left behind otherwise") {
  const test::Scratch folder;
  const std::string path = folder.file("keys");
  CHECK(write_key_file(path, {}).code() == Code::kInvalidArgument);
  CHECK(write_key_file(path, {kPublic, ""}).code() == Code::kInvalidArgument);
  CHECK(write_key_file(path, {kPublic, kSecret + "\n"}).code() == Code::kInvalidArgument);
  CHECK(access(path.c_str(), F_OK) != 0);
  CHECK_FALSE(write_key_file(folder.file("none/keys"), {kPublic, kSecret}).ok());
}

}  // namespace
}  // namespace imss::net
