# Stand-in, see CMakeLists.txt beside it.  The descriptions have to be single texts: Slicer passes them on unquoted.
foreach(name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  list(LENGTH EXTENSION_${name} count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "EXTENSION_${name} has to be one text, not ${count}")
  endif()
endforeach()
