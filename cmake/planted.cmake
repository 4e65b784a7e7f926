# planted_sources(PATCH DIR INTO): the files that a patch touches, patched, below DIR; INTO is the list of them, to be
# given to a program in front of the library that has the originals. A patch that no longer applies fails the build.
find_program(PATCH_TOOL patch)

function(planted_sources patch dir into)
    if(NOT PATCH_TOOL)
        message(FATAL_ERROR "patch is not installed")
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${patch})
    file(STRINGS ${patch} touched REGEX "^\\+\\+\\+ b/")
    if(NOT touched)
        message(FATAL_ERROR "${patch} must name files")
    endif()
    set(originals)
    set(patched)
    set(copies)
    foreach(line ${touched})
        string(REPLACE "+++ b/" "" file "${line}")
        list(APPEND originals ${PROJECT_SOURCE_DIR}/${file})
        list(APPEND patched ${dir}/${file})
        list(APPEND copies COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_SOURCE_DIR}/${file} ${dir}/${file})
    endforeach()
    get_filename_component(name ${patch} NAME_WE)
    add_custom_command(OUTPUT ${patched}
        ${copies}
        COMMAND ${PATCH_TOOL} --silent --no-backup-if-mismatch -p1 -d ${dir} -i ${patch}
        DEPENDS ${originals} ${patch}
        COMMENT "Planting ${name}" VERBATIM)
    set(${into} "${patched}" PARENT_SCOPE)
endfunction()

# planted_header(PATCH NAME INTO): the value of "NAME: value" in a patch's header; empty without such a line.
function(planted_header patch name into)
    file(STRINGS ${patch} lines REGEX "^${name}: ")
    string(REGEX REPLACE "^${name}: " "" value "${lines}")
    set(${into} "${value}" PARENT_SCOPE)
endfunction()
