# Makes install.packages() work until the next start of the lab. R reads this file at each start (/etc/R/Rprofile.site).
local({
  try <- "/run/lab/try/R" # empty at each start. The image's own library is read-only
  dir.create(try, showWarnings = FALSE)
  .libPaths(c(try, .libPaths()))

  install <- function(pkgs, lib = .libPaths()[1], ...) {
    unreachable <- FALSE
    result <- withCallingHandlers(
      utils::install.packages(pkgs, lib, ...),
      warning = function(w) if (grepl("unable to access index", conditionMessage(w))) unreachable <<- TRUE
    )
    names <- sub("_.*", "", basename(pkgs)) # a file has the name NAME_VERSION.tar.gz
    failed <- names[!dir.exists(file.path(lib, names))]
    debian <- function(names) paste(tolower(paste0("r-cran-", names)), collapse = " ")
    walled <- grepl("//egress:", Sys.getenv("https_proxy"), fixed = TRUE) # network: allowlist
    if (length(failed) && unreachable && walled) {
      message(sprintf("labdock: the proxy of the lab reaches no repository of R packages, so R did not install '%s'. Add the repository's domain to egress/allowlist.txt, or add '%s' to DEBIAN_PACKAGES in compose.override.yaml.", paste(failed, collapse = " "), debian(failed)))
    } else if (length(failed) && unreachable) {
      message(sprintf("labdock: no repository of R packages can be reached, so R did not install '%s'. Add '%s' to DEBIAN_PACKAGES in compose.override.yaml, or set options(repos = ADDRESS) to a mirror of your site.", paste(failed, collapse = " "), debian(failed)))
    } else if (length(failed)) {
      message(sprintf("labdock: R did not install '%s'. R's own messages say why. Add '%s' to DEBIAN_PACKAGES in compose.override.yaml.", paste(failed, collapse = " "), debian(failed)))
    } else {
      message("labdock: the installed packages are gone at the next start of the lab. To keep them, add Debian's packages to DEBIAN_PACKAGES in compose.override.yaml:\n    ", debian(names))
    }
    invisible(result)
  }

  # R looks for functions in this list first, because R attaches the list after the package utils.
  setHook(packageEvent("utils", "attach"), function(...) {
    attach(list(install.packages = install), name = "labdock", warn.conflicts = FALSE)
  })
})
