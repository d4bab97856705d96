# Compiles a text file into a function: run as a script, with SOURCE, TARGET, HEADER and FUNCTION.
file(READ ${SOURCE} text)
file(WRITE ${TARGET} "#include \"${HEADER}\"\n
namespace portwright {\n
std::string_view ${FUNCTION}() {
  static constexpr std::string_view kText = R\"text(${text})text\";
  return kText;
}\n
}  // namespace portwright\n")
