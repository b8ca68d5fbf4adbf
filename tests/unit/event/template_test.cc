#include "event/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::event {
namespace {

using ::testing::HasSubstr;

class TemplateTest : public ::testing::Test {
 protected:
  TemplateTest() {
    source_.name = "table";
    source_.event_source = "es";
    source_.event_name = "ev";
    source_.event_type = "generic";
    source_.metadata = {{"region", "eu-1"}, {"zone", "b"}};
  }

  std::string Render(std::string_view text) {
    Result<Template> parsed = Template::Parse(text);
    if (!parsed) return "error: " + parsed.error().message;
    return std::string(parsed->Render({&source_, &event_, "bus", "id-1"}, arena_));
  }

  SourceInfo source_;
  Event event_;
  Arena arena_;
};

std::string ErrorOf(std::string_view text) {
  Result<Template> parsed = Template::Parse(text);
  if (parsed) return "no error";
  EXPECT_EQ(parsed.error().code, Code::kConfig);
  return parsed.error().message;
}

TEST_F(TemplateTest, FillsEachPlaceholder) {
  EXPECT_EQ(Render("{source}/{subject}/{type}/{id}/{sink}/{table}/{metadata.region}"),
            "es/ev/generic/id-1/bus/table/eu-1");
}

TEST_F(TemplateTest, PrefersWhatTheEventBrings) {
  const std::vector<penstock_kv> attributes = {{{"a", 1}, {"one", 3}}, {{"b", 1}, {"two", 3}}};
  event_.subject = "own";
  event_.type = "mine";
  event_.attributes = attributes;
  EXPECT_EQ(Render("{subject}.{type}.{attribute.b}"), "own.mine.two");
}

TEST_F(TemplateTest, RendersMissingKeysAsNothing) {
  EXPECT_EQ(Render("[{metadata.none}{attribute.none}]"), "[]");
}

TEST_F(TemplateTest, KeepsDoubledBraces) {
  EXPECT_EQ(Render("{{source}}"), "{source}");
  EXPECT_EQ(Render("{{{source}}}"), "{es}");
}

TEST_F(TemplateTest, KnowsWhatIsConstant) {
  EXPECT_EQ(*Template::Parse("").value().constant(), "");
  EXPECT_EQ(*Template::Parse("a{{b").value().constant(), "a{b");
  EXPECT_EQ(Template::Parse("{source}").value().constant(), nullptr);
  const Template constant = Template::Parse("events").value();
  EXPECT_EQ(constant.Render({&source_, &event_, "", ""}, arena_).data(),
            constant.constant()->data());
  EXPECT_EQ(arena_.used(), 0u);
}

TEST_F(TemplateTest, KnowsWhatItUses) {
  const Template t = Template::Parse("{id}-{metadata.region}").value();
  EXPECT_TRUE(t.Uses("id"));
  EXPECT_TRUE(t.Uses("metadata.region"));
  EXPECT_FALSE(t.Uses("metadata.zone"));
  EXPECT_FALSE(t.Uses("metadata."));
  EXPECT_FALSE(t.Uses("source"));
  EXPECT_FALSE(t.Uses(""));
}

TEST_F(TemplateTest, KnowsWhatOfAnEventItNeeds) {
  EXPECT_EQ(Template::Parse("{source}{table}{sink}{metadata.a}").value().needs(), 0u);
  EXPECT_EQ(Template::Parse("{subject}{type}").value().needs(), kOwnSubject | kOwnType);
  EXPECT_EQ(Template::Parse("{id}{attribute.a}").value().needs(), kOwnId | kOwnAttributes);
}

TEST_F(TemplateTest, NamesTheColumnAndTheNearestPlaceholder) {
  EXPECT_THAT(ErrorOf("default.{sourc}"), HasSubstr("column 9: unknown placeholder {sourc}, did "
                                                    "you mean {source}?"));
  EXPECT_THAT(ErrorOf("ä{metadta.x}"), HasSubstr("column 2: "));
  EXPECT_THAT(ErrorOf("{metadta.x}"), HasSubstr("did you mean {metadata.NAME}?"));
  EXPECT_THAT(ErrorOf("{metadata}"), HasSubstr("did you mean {metadata.NAME}?"));
  EXPECT_THAT(ErrorOf("{metadata.}"), HasSubstr("did you mean {metadata.NAME}?"));
  EXPECT_THAT(ErrorOf("{Source}"), HasSubstr("did you mean {source}?"));
  EXPECT_THAT(ErrorOf("{qqqqqqqq}"), ::testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(ErrorOf("{qqqqqqqq}"), HasSubstr("(known: {source}, {subject}, {type}, {id}, {sink}, "
                                               "{table}, {metadata.NAME}, {attribute.NAME})"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("column 1: unknown placeholder {}"));
}

TEST_F(TemplateTest, RefusesLooseBraces) {
  EXPECT_THAT(ErrorOf("a{source"), HasSubstr("column 2: this { is never closed"));
  EXPECT_THAT(ErrorOf("a{source{id}"), HasSubstr("column 2: this { is never closed"));
  EXPECT_THAT(ErrorOf("a}b"), HasSubstr("column 2: this } closes nothing"));
  EXPECT_THAT(ErrorOf("{source}}"), HasSubstr("column 9: this } closes nothing"));
}

}  // namespace
}  // namespace penstock::event
