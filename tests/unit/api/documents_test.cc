// The code in docs/api.md is code of the examples, line by line.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

const std::filesystem::path kSourceDirectory =
    std::filesystem::path(IMSS_TEST_DATA_DIR).parent_path().parent_path();

// The lines of a file without the blanks around them.
std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(kSourceDirectory / path);
  INFO(path);
  REQUIRE(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    const std::size_t begin = line.find_first_not_of(' ');
    lines.push_back(begin == std::string::npos ? "" : line.substr(begin));
  }
  return lines;
}

struct Snippet {
  std::string source;
  std::vector<std::string> lines;
};

std::vector<Snippet> snippets_of(const std::vector<std::string>& document) {
  const std::string mark = "<!-- from ";
  std::vector<Snippet> snippets;
  for (std::size_t index = 0; index < document.size(); ++index) {
    const std::string& line = document[index];
    if (line != "```c" && line != "```cpp") continue;
    INFO("the code at line " << index + 1 << " does not say where it comes from");
    REQUIRE(index > 0);
    REQUIRE(document[index - 1].rfind(mark, 0) == 0);
    Snippet snippet;
    snippet.source = document[index - 1].substr(mark.size());
    snippet.source.resize(snippet.source.find(" -->"));
    for (++index; index < document.size() && document[index] != "```"; ++index) {
      snippet.lines.push_back(document[index]);
    }
    snippets.push_back(snippet);
  }
  return snippets;
}

bool contains(const std::vector<std::string>& lines, const std::vector<std::string>& part) {
  for (std::size_t begin = 0; begin + part.size() <= lines.size(); ++begin) {
    if (std::equal(part.begin(), part.end(), lines.begin() + static_cast<std::ptrdiff_t>(begin))) {
      return true;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("every piece of code in the tour of the interface is in the example it names") {
  const std::vector<Snippet> snippets = snippets_of(lines_of("docs/api.md"));
  CHECK(snippets.size() >= 10);
  for (const Snippet& snippet : snippets) {
    INFO(snippet.source << ": " << (snippet.lines.empty() ? "" : snippet.lines.front()));
    CHECK(contains(lines_of(snippet.source), snippet.lines));
  }
}
