# midus::openblas and midus::onednn: who links one of them has the products of whole matrices from that library. They are
# made where the library is found; midus_openblas_FOUND and midus_onednn_FOUND say so.
include_guard(DIRECTORY)

function(_midus_find_gemm name header library suffixes)
  find_path(MIDUS_${name}_INCLUDE_DIR ${header} PATH_SUFFIXES ${suffixes})
  find_library(MIDUS_${name}_LIBRARY ${library})
  mark_as_advanced(MIDUS_${name}_INCLUDE_DIR MIDUS_${name}_LIBRARY)
  set(found FALSE)
  if(MIDUS_${name}_INCLUDE_DIR AND MIDUS_${name}_LIBRARY)
    set(found TRUE)
    if(NOT TARGET midus::${name})
      string(TOUPPER ${name} NAME)
      add_library(midus::${name} INTERFACE IMPORTED)
      set_target_properties(midus::${name} PROPERTIES
        INTERFACE_COMPILE_DEFINITIONS MIDUS_GEMM_${NAME}
        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${MIDUS_${name}_INCLUDE_DIR}"
        INTERFACE_INCLUDE_DIRECTORIES "${MIDUS_${name}_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${MIDUS_${name}_LIBRARY};${ARGN}")
    endif()
  endif()
  set(midus_${name}_FOUND ${found} PARENT_SCOPE)
endfunction()

_midus_find_gemm(openblas cblas.h openblas openblas)
_midus_find_gemm(onednn oneapi/dnnl/dnnl.h dnnl "" gomp)  # Debian's computes on OpenMP's threads
