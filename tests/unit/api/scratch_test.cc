// Segments of these tests lie in a folder of their own, so that what else is deployed on the node does not show.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "support/scratch.h"

namespace {

const imss::test::Scratch scratch;

TEST_CASE("the tests of the interface keep their segments to themselves") {
  CHECK(std::getenv("IMSS_SHM_DIR") == scratch.path());
}

}  // namespace
