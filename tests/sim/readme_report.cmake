# SPDX-License-Identifier: BSL-1.0
#
# cmake -D PROGRAM=<adversary> -D README=<file> -P readme_report.cmake
#
# The README's report is what the program prints of the broken driver.
execute_process(COMMAND ${PROGRAM} --driver errors_forgotten --seeds 1 OUTPUT_VARIABLE output)
string(REGEX REPLACE "replay: [^\n]* --driver errors_forgotten" "replay: my_test" output "${output}")
string(REGEX REPLACE "\n([^\n])" "\n    \\1" output "    ${output}")
file(READ "${README}" readme)
string(FIND "${readme}" "sim.readme_report -->\n${output}\n" at)
if(at EQUAL -1)
  message(FATAL_ERROR "${README} has another report than:\n${output}")
endif()
