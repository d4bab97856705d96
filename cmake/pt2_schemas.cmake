# Compiles src/pt2/aten.schemas into portwright_pt2: run as a script, with SOURCE and TARGET.
file(READ ${SOURCE} text)
file(WRITE ${TARGET} "// Made from aten.schemas.\n#include \"pt2/aten_schemas.h\"\n
namespace portwright {\n
std::string_view aten_schemas() {
  static constexpr std::string_view kText = R\"schemas(${text})schemas\";
  return kText;
}\n
}  // namespace portwright\n")
